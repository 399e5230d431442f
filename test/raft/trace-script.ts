import type { MembershipChange } from '../../src/raft/configuration.js'
import type { Mutations } from '../../src/raft/mutations.js'
import { describeEntry, TraceGroup } from './trace-group.js'

type Command = (group: TraceGroup, words: readonly string[]) => void

const isOption = (word: string) => word.includes('=')

function optionsOf(words: readonly string[]): Map<string, string> {
  return new Map(words.filter(isOption).map((word) => word.split('=') as [string, string]))
}

/**
 * The language of the scripts in testdata:
 *
 *   option maxAppendEntries=1           mutate countOldTermEntries          before any member
 *   found a          join b c           members that start afresh
 *   group a b c      group a b learners=c          members that know each other, with empty logs
 *   preset a term=6 log=1,1,4,6 voters=a,b,c       a member with a history
 *   campaign a       tick a 3           propose a hello      read a      change a promote b      transfer a b
 *   deliver          deliver a>b        everything until silence; or only what is under way on that link
 *   drop a>*         keep a>b           replay               lose it; put it aside; deliver it late
 *   cut a b          cut a>b            heal
 *   slow a           persist a          its disk takes its time; now it is done
 *   freeze a         thaw a             the process stands still, its clock too
 *   crash a          restart a          compact a 2
 *   status           logs
 */
const COMMANDS: Readonly<Record<string, Command>> = {
  option(group, words) {
    for (const [name, value] of optionsOf(words)) group.options = { ...group.options, [name]: Number(value) }
  },
  mutate(group, [mutation]) {
    group.mutations = { [mutation as keyof Mutations]: true }
  },
  found: (group, ids) => ids.forEach((id) => void group.found(id)),
  join: (group, ids) => ids.forEach((id) => void group.add(id, {})),
  group(group, words) {
    const voters = words.filter((word) => !isOption(word))
    const learners = optionsOf(words).get('learners')?.split(',') ?? []
    for (const id of [...voters, ...learners]) group.preset(id, { voters, learners }, [], 0)
  },
  preset(group, [id, ...words]) {
    const options = optionsOf(words)
    const terms = options.get('log')?.split(',').filter(Boolean).map(Number) ?? []
    const voters = options.get('voters')!.split(',')
    group.preset(id!, { voters, learners: [] }, terms, Number(options.get('term')))
  },
  campaign: (group, [id]) => group.node(id!).campaign(),
  tick(group, [id, count]) {
    for (let at = 0; at < Number(count ?? 1); at++) {
      group.node(id!).tick()
      group.work()
    }
  },
  propose(group, [id, ...words]) {
    const result = group.node(id!).propose(new TextEncoder().encode(words.join(' ')))
    if (result.status === 'refused') group.say(`  ${id} refuses: ${result.reason}`)
  },
  read(group, [id]) {
    const result = group.node(id!).requestRead()
    if (result.status === 'refused') group.say(`  ${id} refuses: ${result.reason}`)
  },
  change(group, [id, kind, node]) {
    const result = group.node(id!).changeMembership({ kind, node } as MembershipChange)
    if (result.status === 'refused') group.say(`  ${id} refuses: ${result.reason}`)
  },
  transfer(group, [id, target]) {
    const refusal = group.node(id!).transferLeadership(target!)
    if (refusal !== undefined) group.say(`  ${id} refuses: ${refusal}`)
  },
  deliver: (group, [link]) => group.deliver(link),
  drop: (group, [link]) => group.drop(link!),
  keep: (group, [link]) => group.keep(link!),
  replay: (group) => group.replay(),
  cut(group, [one, other]) {
    if (other === undefined) {
      const [from, to] = one!.split('>')
      group.cut(from!, to!)
    } else {
      group.cut(one!, other)
      group.cut(other, one!)
    }
  },
  heal: (group) => group.heal(),
  slow(group, [id]) {
    group.member(id!).slow = true
  },
  persist(group, [id]) {
    group.member(id!).slow = false
    group.persist(id!)
  },
  freeze(group, [id]) {
    group.member(id!).frozen = true
  },
  thaw(group, [id]) {
    group.member(id!).frozen = false
  },
  crash: (group, [id]) => group.crash(id!),
  restart: (group, [id]) => group.start(id!),
  compact: (group, [id, retain]) => group.compact(id!, Number(retain ?? 0)),
  status(group) {
    for (const id of group.ids) group.say(`  ${id} ${statusOf(group, id)}`)
  },
  logs(group) {
    for (const id of group.ids) {
      const { disk } = group.member(id)
      const from = disk.snapshot.index > 0 ? `snapshot ${disk.snapshot.index} | ` : ''
      group.say(`  ${id} ${from}${disk.entries.map(describeEntry).join(' | ')}`)
    }
  },
}

function statusOf(group: TraceGroup, id: string): string {
  const { node } = group.member(id)
  if (node === undefined) return 'is down'
  const { role, term, leader, commit, applied, lastIndex, configuration } = node.status()
  const { voters, learners } = configuration
  const who = `${role} in term ${term}, leader ${leader ?? 'unknown'}`
  return `${who}, last ${lastIndex}, commit ${commit}, applied ${applied}, voters [${voters}] learners [${learners}]`
}

function run(group: TraceGroup, line: string): void {
  const [name, ...words] = line.trim().split(/\s+/)
  const command = COMMANDS[name!]
  if (command === undefined) throw new Error(`unknown command ${name}`)
  try {
    command(group, words)
    group.work()
  } catch (error) {
    // A broken invariant stops a member; in a script it is a result like any other.
    if ((error as { code?: string }).code !== 'INVARIANT_VIOLATED') throw error
    group.say(`  INVARIANT ${(error as Error).message}`)
  }
}

/**
 * Runs a script and returns it with what each block of commands did in place of what it said. Blocks are
 * separated by empty lines; a block that begins with `#` is prose; `----` separates commands from the trace.
 */
export function rerun(script: string): string {
  const group = new TraceGroup()
  const blocks = script.trim().split(/\n\s*\n/)
  const rewritten = blocks.map((block) => {
    if (block.startsWith('#')) return block
    const lines = block.split('\n')
    const end = lines.indexOf('----')
    const commands = end === -1 ? lines : lines.slice(0, end)
    for (const line of commands) run(group, line)
    return [...commands, '----', ...group.takeLines()].join('\n')
  })
  return `${rewritten.join('\n\n')}\n`
}
