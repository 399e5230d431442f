import type { Configuration } from '../../src/raft/configuration.js'
import type { Message, Proposal } from '../../src/raft/messages.js'
import type { Mutations } from '../../src/raft/mutations.js'
import type { RaftOptions } from '../../src/raft/options.js'
import { founding, joining, RaftNode } from '../../src/raft/raft-node.js'
import type { Ready } from '../../src/raft/ready.js'
import type { Entry, HardState, SnapshotMetadata } from '../../src/raft/types.js'

/** Messages are delivered until none is left; more than this is a conversation that never ends. */
const MAX_DELIVERIES = 2000

interface Disk {
  hardState: HardState
  snapshot: SnapshotMetadata
  snapshotBytes: Uint8Array
  entries: Entry[]
}

interface Member {
  readonly id: string
  readonly disk: Disk
  node: RaftNode | undefined
  slow: boolean
  frozen: boolean
  waiting: Ready[]
  received: Uint8Array[]
  state: string[]
}

/** A group without chance: every timeout is the shortest, every message waits until the script delivers it. */
export class TraceGroup {
  readonly #members = new Map<string, Member>()
  readonly #cut = new Set<string>()
  readonly #lines: string[] = []
  #queue: Message[] = []
  #kept: Message[] = []
  options: Partial<RaftOptions> = { electionTicks: 3, heartbeatTicks: 1 }
  mutations: Mutations = {}

  takeLines(): string[] {
    return this.#lines.splice(0)
  }

  say(line: string): void {
    this.#lines.push(line)
  }

  add(id: string, disk: Partial<Disk>): void {
    const first = { ...joining(), snapshotBytes: new Uint8Array(), ...disk }
    const state: string[] = []
    const idle = { node: undefined, slow: false, frozen: false, waiting: [], received: [], state }
    this.#members.set(id, { id, disk: { ...first, entries: [...first.entries] }, ...idle })
    this.start(id)
  }

  found(id: string): void {
    this.add(id, { ...founding(id), entries: [] })
  }

  /** A member whose log holds no-ops of these terms, in a group that is already there. */
  preset(id: string, configuration: Configuration, terms: readonly number[], term: number): void {
    const entries = terms.map((entryTerm, at): Entry => ({ index: at + 1, term: entryTerm, kind: 'no-op' }))
    const snapshot = { index: 0, term: 0, configuration }
    this.add(id, { hardState: { term, vote: undefined, commit: 0 }, snapshot, entries })
  }

  member(id: string): Member {
    const member = this.#members.get(id)
    if (member === undefined) throw new Error(`no member ${id}`)
    return member
  }

  node(id: string): RaftNode {
    const { node } = this.member(id)
    if (node === undefined) throw new Error(`${id} is down`)
    return node
  }

  get ids(): string[] {
    return [...this.#members.keys()].sort()
  }

  start(id: string): void {
    const member = this.member(id)
    const { hardState, snapshot, snapshotBytes, entries } = member.disk
    const restored = { hardState, snapshot, entries: [...entries] }
    const random = () => 0
    member.node = new RaftNode({ id, random, restored, options: this.options, mutations: this.mutations })
    member.state = splitText(snapshotBytes)
  }

  crash(id: string): void {
    Object.assign(this.member(id), { node: undefined, waiting: [], received: [], frozen: false })
  }

  cut(one: string, other: string): void {
    this.#cut.add(`${one}>${other}`)
  }

  heal(): void {
    this.#cut.clear()
  }

  /** Puts what is under way on this link aside, to be delivered late. */
  keep(link: string): void {
    const [kept, left] = partition(this.#queue, (message) => onLink(message, link))
    this.#kept.push(...kept)
    this.#queue = left
    for (const message of kept) this.say(`kept ${describe(message)}`)
  }

  replay(): void {
    this.#queue.push(...this.#kept.splice(0))
  }

  drop(link: string): void {
    const [dropped, left] = partition(this.#queue, (message) => onLink(message, link))
    this.#queue = left
    for (const message of dropped) this.say(`lost ${describe(message)}`)
  }

  /** Everything, or only what is under way now on one link. */
  deliver(link: string | undefined): void {
    if (link !== undefined) {
      const [due, left] = partition(this.#queue, (message) => onLink(message, link))
      this.#queue = left
      for (const message of due) this.#deliverOne(message)
      return
    }
    for (let count = 0; this.#queue.length > 0; count++) {
      if (count > MAX_DELIVERIES) throw new Error('messages never end')
      this.#deliverOne(this.#queue.shift()!)
    }
  }

  #deliverOne(message: Message): void {
    const target = this.#members.get(message.to)
    const isCut = this.#cut.has(`${message.from}>${message.to}`)
    if (isCut || target?.node === undefined) {
      this.say(`lost ${describe(message)}`)
      return
    }
    if (target.frozen) {
      this.#kept.push(message)
      return
    }
    this.say(describe(message))
    target.node.step(message)
    this.work()
  }

  /** Follows the host contract of raft-node.ts for every member, in the order of names. */
  work(): void {
    for (const id of this.ids) {
      const member = this.member(id)
      if (member.frozen) continue
      this.#takeAll(member)
      member.node?.announceCommit()
      this.#takeAll(member)
    }
  }

  #takeAll(member: Member): void {
    for (let ready = member.node?.ready(); ready !== undefined; ready = member.node?.ready()) {
      this.#take(member, ready)
    }
  }

  #take(member: Member, ready: Ready): void {
    const { softState } = ready
    if (softState !== undefined) {
      const { role, term, leader } = softState
      this.say(`  ${member.id} is ${role} in term ${term}, leader ${leader ?? 'unknown'}`)
    }
    this.#queue.push(...ready.messages)
    for (const chunk of ready.chunks) this.#receive(member, chunk)
    if (ready.committed.length > 0) this.#apply(member, ready.committed)
    for (const { requestId: _, ...outcome } of ready.readOutcomes)
      this.say(`  ${member.id} read: ${words(outcome)}`)
    for (const { requestId: _, ...outcome } of ready.proposalOutcomes) {
      this.say(`  ${member.id} proposal: ${words(outcome)}`)
    }
    member.waiting.push(ready)
    if (!member.slow) this.persist(member.id)
    for (const request of ready.snapshotReads) this.#provide(member, request)
  }

  persist(id: string): void {
    const member = this.member(id)
    for (const ready of member.waiting.splice(0)) {
      const { disk } = member
      if (ready.hardState !== undefined) disk.hardState = ready.hardState
      const first = ready.entries[0]
      if (first !== undefined) {
        disk.entries = [...disk.entries.filter((entry) => entry.index < first.index), ...ready.entries]
      }
      this.#queue.push(...ready.messagesAfterPersist)
      member.node!.advance(ready)
    }
  }

  compact(id: string, retain: number): void {
    const member = this.member(id)
    const node = this.node(id)
    const snapshot = node.snapshotMetadata(node.status().applied)
    member.disk.snapshot = snapshot
    member.disk.snapshotBytes = new TextEncoder().encode(member.state.join(' '))
    node.compact(snapshot, retain)
    const { firstIndex } = node.status()
    member.disk.entries = member.disk.entries.filter((entry) => entry.index >= firstIndex)
    this.say(`  ${id} has a snapshot at ${snapshot.index} and entries from ${firstIndex}`)
  }

  #apply(member: Member, entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.kind === 'command') member.state.push(new TextDecoder().decode(entry.data))
    }
    this.say(`  ${member.id} applies ${entries.map(describeEntry).join(' | ')}`)
  }

  #receive(member: Member, { snapshot, offset, data, last }: Ready['chunks'][number]): void {
    if (offset === 0) member.received = []
    member.received.push(data)
    if (!last) return
    member.disk.snapshot = snapshot
    member.disk.snapshotBytes = Uint8Array.from(Buffer.concat(member.received))
    member.disk.entries = []
    member.state = splitText(member.disk.snapshotBytes)
    this.say(`  ${member.id} restores snapshot ${snapshot.index}: ${member.state.join(' ')}`)
  }

  #provide(member: Member, { to, snapshot, offset, maxBytes }: Ready['snapshotReads'][number]): void {
    const { disk, node } = member
    if (disk.snapshot.index !== snapshot.index) {
      node!.snapshotUnavailable(to, snapshot.index)
      return
    }
    const data = disk.snapshotBytes.subarray(offset, offset + maxBytes)
    const last = offset + data.length >= disk.snapshotBytes.length
    node!.provideSnapshotChunk({ to, snapshotIndex: snapshot.index, offset, data, last })
  }
}

function splitText(bytes: Uint8Array): string[] {
  return new TextDecoder().decode(bytes).split(' ').filter(Boolean)
}

function partition(
  messages: readonly Message[],
  belongs: (message: Message) => boolean,
): [Message[], Message[]] {
  return [messages.filter(belongs), messages.filter((message) => !belongs(message))]
}

/** `a>b`, `a>*` or `*>b`. */
function onLink({ from, to }: Message, link: string): boolean {
  const [source, target] = link.split('>')
  return (source === '*' || source === from) && (target === '*' || target === to)
}

export function describeEntry(entry: Entry): string {
  const where = `${entry.index}@${entry.term}`
  if (entry.kind === 'command') return `${where} ${new TextDecoder().decode(entry.data)}`
  if (entry.kind === 'no-op') return `${where} no-op`
  return `${where} voters [${entry.configuration.voters}] learners [${entry.configuration.learners}]`
}

function words(fields: object): string {
  return Object.entries(fields)
    .map(([name, value]) => (name === 'status' ? `${value}` : `${name} ${value}`))
    .join(', ')
}

function describeProposal(proposal: Proposal): string {
  if (proposal.kind === 'command') return new TextDecoder().decode(proposal.data)
  return `${proposal.change.kind} ${proposal.change.node}`
}

/** `a>b vote term 2: lastIndex 1, lastTerm 1` */
function describe(message: Message): string {
  const { type, from, to, term, ...rest } = message
  const head = `${from}>${to} ${type}${term > 0 ? ` term ${term}` : ''}`
  const fields = Object.entries(rest).flatMap(([name, value]) => describeField(name, value))
  return fields.length > 0 ? `${head}: ${fields.join(', ')}` : head
}

function describeField(name: string, value: unknown): string[] {
  if (name === 'entries')
    return (value as Entry[]).length > 0 ? [`[${(value as Entry[]).map(describeEntry).join('; ')}]`] : []
  if (
    name === 'requestId' ||
    value === false ||
    ((name.startsWith('hint') || name === 'readSequence') && value === 0)
  )
    return []
  if (value === true) return [name]
  if (value instanceof Uint8Array) return [`data "${new TextDecoder().decode(value)}"`]
  if (name === 'snapshot') return [`snapshot ${(value as SnapshotMetadata).index}`]
  if (name === 'proposals') return (value as Proposal[]).map(describeProposal)
  if (name === 'answers') return (value as object[]).map(words)
  if (typeof value === 'object' && value !== null) return [words(value)]
  return [`${name} ${value}`]
}
