import t, { type Test } from 'tap'
import type { MeshNode } from '../../src/node/mesh-node.js'
import { ANCHOR_PREFIX } from '../../src/registry/keys.js'
import type { Cluster } from '../../src/simulation/cluster/cluster.js'
import type { Server } from '../../src/simulation/cluster/server.js'
import { strongOf } from '../../src/simulation/strong/access.js'
import { calmCluster } from './calm-cluster.js'

const NAMES = ['a', 'b', 'c']
const KEY_FILE = '/data/server.key'
const TIMEOUT_MS = 4_000
/** Far more than links, the grace time and an election take; virtual. */
const LONG_MS = 20_000
const STEP_MS = 100

type Host = Server<MeshNode>

/** Three servers on disks, the first of which founds the mesh. */
class Mesh {
  readonly cluster: Cluster<MeshNode>
  private founded = false

  constructor(t: Test) {
    const optionsOf = (server: number) => {
      const found = server === 0 && !this.founded
      this.founded ||= found
      return {
        dataDir: '/data',
        listen: { host: NAMES[server]!, port: 7000 },
        peers: NAMES.filter((name) => name !== NAMES[server]).map((name) => `ws://${name}:7000`),
        raft: { voterGraceMs: 60_000 },
        found,
      }
    }
    this.cluster = calmCluster(t, NAMES, optionsOf, {
      running: (server) => {
        // The operator has a copy of the key: without it nobody would let the name in again.
        server.keptElsewhere.set(KEY_FILE, server.machine.disk.image().get(KEY_FILE)!)
      },
    })
    for (const server of this.cluster.servers) server.start()
  }

  async until(condition: () => boolean): Promise<boolean> {
    for (let ms = 0; ms < LONG_MS && !condition(); ms += STEP_MS) await this.cluster.pass(STEP_MS)
    return condition()
  }

  leader(): Host | undefined {
    return this.cluster.servers.find(({ node }) => node && strongOf(node).status()?.raft.role === 'leader')
  }

  /** The replicas that vote, as this server sees it. */
  voters({ node }: Host): readonly string[] {
    return (node && strongOf(node).status()?.raft.configuration.voters) ?? []
  }

  /** What becomes of the creation of an anchor on that server: 'created', or the code of the error. */
  async create(server: Host, x: number): Promise<string | undefined> {
    let outcome: string | undefined
    this.cluster.within(server, (node) => {
      const anchor = { storage: 'vault', world: 'overworld', position: { x, y: 64, z: 0 } }
      node.anchors.create(anchor, { timeoutMs: TIMEOUT_MS }).then(
        () => {
          outcome = 'created'
        },
        (error) => {
          outcome = error.code
        },
      )
    })
    await this.until(() => outcome !== undefined)
    return outcome
  }

  anchorsOf({ node }: Host): number {
    return node === undefined ? 0 : strongOf(node).list(ANCHOR_PREFIX).length
  }

  setCut(one: Host, isCut: boolean): void {
    const { conditions } = this.cluster.network
    for (const { number } of this.cluster.servers) {
      if (number === one.number) continue
      for (const [from, to] of [
        [one.number, number],
        [number, one.number],
      ] as const) {
        if (isCut) conditions.cut(from, to)
        else conditions.heal(from, to)
      }
    }
  }
}

t.test(
  'a voter whose disk was lost has no vote and counts in no majority until it was added anew',
  async (t) => {
    const mesh = new Mesh(t)
    const { servers } = mesh.cluster
    const isWhole = () => servers.every((server) => mesh.voters(server).length === 3)
    t.ok(await mesh.until(() => isWhole() && mesh.leader() !== undefined))
    const knowing = mesh.leader()!
    const [behind, emptied] = servers.filter((server) => server !== knowing) as [Host, Host]
    const formerReplica = strongOf(emptied.node!).replica

    mesh.setCut(behind, true)
    t.equal(await mesh.create(knowing, 1), 'created', 'committed by two')
    knowing.losePower()
    emptied.replaceDisk(new Map())
    emptied.start()
    mesh.setCut(behind, false)

    await mesh.cluster.pass(LONG_MS)
    const replica = strongOf(emptied.node!).replica
    t.not(replica, formerReplica, 'a new member, that only its name has in common with the old one')
    t.same(emptied.node!.raft()?.leader, undefined)
    t.equal(mesh.leader(), undefined, 'one voter of three is left, and elects nobody')
    t.ok(mesh.voters(behind).includes(formerReplica))
    t.notOk(mesh.voters(behind).includes(replica))
    t.equal(await mesh.create(behind, 2), 'NO_QUORUM')
    t.equal(await mesh.create(emptied, 3), 'NO_QUORUM')

    knowing.start()
    const isAddedAnew = () => servers.every((server) => mesh.voters(server).includes(replica))
    t.ok(await mesh.until(() => isAddedAnew() && isWhole()), 'a voter again, as who it is now')
    t.notOk(mesh.voters(knowing).includes(formerReplica))
    t.ok(
      await mesh.until(() => servers.every((server) => mesh.anchorsOf(server) === 1)),
      'and nothing is lost',
    )

    knowing.losePower()
    t.ok(await mesh.until(() => mesh.leader() !== undefined))
    t.equal(await mesh.create(emptied, 4), 'created', 'now its vote counts')
  },
)
