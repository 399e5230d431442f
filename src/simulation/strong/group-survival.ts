import { majority } from '../../raft/quorum.js'
import { serverOfReplica } from '../../sync/identity.js'
import type { Run } from '../run/run.js'
import { strongOf } from './access.js'

/**
 * Members whose disks went back or were lost. A group that loses a majority of its voters for good is gone (an
 * operator may recover it), so disks go back only as long as it survives, and while it is known who votes.
 */
export class GroupSurvival {
  readonly #lost = new Set<string>()

  constructor(private readonly run: Run) {}

  /** Whether that server's disk may lose what was written; if so, it counts as lost from now on. */
  mayLose(server: number): boolean {
    const { names, founder } = this.run.options
    if (founder === undefined) return true
    const voters = this.#voters()
    if (voters === undefined) return false
    const own = voters.filter((voter) => serverOfReplica(voter) === names[server])
    const left = voters.filter((voter) => !own.includes(voter) && this.#lasts(voter))
    if (left.length < majority(voters.length)) return false
    for (const voter of own) this.#lost.add(voter)
    return true
  }

  #lasts(voter: string): boolean {
    const { names, durability } = this.run.options
    return !this.#lost.has(voter) && durability[names.indexOf(serverOfReplica(voter))] !== 'memory'
  }

  /** As the leader of the latest term sees it, once no change is under way. */
  #voters(): readonly string[] | undefined {
    const members = this.run.cluster.servers.flatMap(({ node }) => (node && strongOf(node).status()) ?? [])
    const term = Math.max(...members.map(({ raft }) => raft.term))
    const leader = members.find(({ raft }) => raft.role === 'leader' && raft.term === term)?.raft
    return leader?.committedInTerm && leader.configurationSettled ? leader.configuration.voters : undefined
  }
}
