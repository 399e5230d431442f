import { decode, encode } from 'cbor-x'
import type { Mutations } from '../../src/raft/mutations.js'
import type { RaftOptions } from '../../src/raft/options.js'
import { requestToTuple } from '../../src/raft/state-machine/command-codec.js'
import type { Command, Request } from '../../src/raft/state-machine/commands.js'
import type { Result } from '../../src/raft/state-machine/results.js'
import { SnapshotRestore } from '../../src/raft/state-machine/snapshot-restore.js'
import { StateMachine } from '../../src/raft/state-machine/state-machine.js'
import { SafetyViolation } from './checkers.js'
import { type Application, Cluster, type Member } from './cluster.js'
import { SeededRandom } from './random.js'

/** The real state machine behind the log, and what clients hear from it. */
class StoreApplication implements Application {
  machine: StateMachine

  constructor(
    readonly mutations: Mutations,
    readonly onResult: (request: Request, result: Result) => void,
  ) {
    this.machine = new StateMachine({ mutations })
  }

  apply(index: number, data: Uint8Array): void {
    const tuple = decode(data)
    const result = this.machine.apply(index, tuple)
    this.onResult(
      { session: tuple[0], sequence: tuple[1], oldestPending: tuple[2], command: tuple[3] },
      result,
    )
  }

  snapshot(): Uint8Array {
    return encode([...this.machine.snapshot()])
  }

  restore(bytes: Uint8Array): void {
    const restore = new SnapshotRestore({ mutations: this.mutations })
    for (const chunk of decode(bytes) as unknown[]) restore.add(chunk)
    this.machine = restore.finish()
  }
}

/** A client that retries what it has no answer for, with the same sequence, anywhere. */
class Client {
  session = 0
  #sequence = 0
  readonly pending = new Map<number, Uint8Array>()
  readonly acknowledged: number[] = []

  constructor(readonly name: string) {}

  keyOf(sequence: number): string {
    return `${this.name}/${sequence}`
  }

  openRequest(): Uint8Array {
    const command: Command = { kind: 'open-session', name: this.name }
    return encode(requestToTuple({ session: 0, sequence: 0, oldestPending: 0, command }))
  }

  next(): Uint8Array {
    this.#sequence += 1
    const sequence = this.#sequence
    const oldestPending = Math.min(sequence, ...this.pending.keys())
    const key = this.keyOf(sequence)
    const put = { kind: 'put', key, value: Uint8Array.of(sequence & 255), lease: 0 } as const
    const command: Command = { kind: 'transact', comparisons: [], success: [put], failure: [] }
    const data = encode(requestToTuple({ session: this.session, sequence, oldestPending, command }))
    this.pending.set(sequence, data)
    return data
  }

  heard(sequence: number, result: Result): void {
    if (!this.pending.delete(sequence)) return
    if (result.status === 'done') this.acknowledged.push(sequence)
  }
}

export interface HistoryOptions {
  readonly seed: number
  readonly mutations?: Mutations
  /** Ticks of the phase in which anything may fail. */
  readonly ticks: number
  readonly profile: Profile
}

/**
 * `mixed`: a bit of everything, drawn anew for each seed. `leader-hunt`: whoever leads is soon cut off with
 * few followers, while entries trickle one by one. `membership-hunt`: the same, and every leader, also one
 * that is deposed and does not know it, is asked to change the membership all the time.
 */
export type Profile = 'mixed' | 'leader-hunt' | 'membership-hunt'

export interface HistoryStatistics {
  readonly leaderChanges: number
  readonly confirmedReads: number
  readonly snapshotChunks: number
  readonly applied: number
  readonly acknowledged: number
  readonly crashes: number
  readonly membershipChanges: number
  readonly ticksToConverge: number
}

/** Ticks within which a healed group must have converged. */
const CONVERGENCE_TICKS = 2000

const MEMBERS = ['a', 'b', 'c', 'd', 'e', 'f']

/** One random history: found a group, let anything fail, heal, and see it converge. Throws for any defect. */
export class History {
  readonly #random: SeededRandom
  readonly #cluster: Cluster
  readonly #clients = [new Client('x'), new Client('y'), new Client('z')]
  readonly #chance: Record<
    'crash' | 'freeze' | 'cut' | 'change' | 'transfer' | 'compact' | 'write' | 'read',
    number
  >
  #crashes = 0
  #membershipChanges = 0

  constructor(readonly options: HistoryOptions) {
    const random = new SeededRandom(options.seed)
    this.#random = random
    const mutations = options.mutations ?? {}
    this.#cluster = new Cluster({
      random,
      mutations,
      raft: { ...drawOptions(random), ...(options.profile !== 'mixed' && TRICKLE) },
      createApplication: () =>
        new StoreApplication(mutations, (request, result) => this.#heard(request, result)),
      persistProbability: 0.2 + 0.8 * random.uniform(),
    })
    const often = () => random.uniform() ** 2
    this.#chance = {
      crash: 0.05 * often(),
      freeze: 0.05 * often(),
      cut: 0.05 * often(),
      change: 0.2 * often(),
      transfer: 0.05 * often(),
      compact: 0.1 * often(),
      write: 0.2 + often(),
      read: 0.5 * random.uniform(),
    }
    if (options.profile !== 'mixed')
      Object.assign(this.#chance, { crash: 0.02, freeze: 0, cut: 0, compact: 0 })
    if (options.profile === 'leader-hunt') Object.assign(this.#chance, { change: 0, write: 0.3 })
    if (options.profile === 'membership-hunt') Object.assign(this.#chance, { change: 0.4, transfer: 0 })
  }

  run(): HistoryStatistics {
    this.#found()
    // A hunt is a matter of timing, which a network that loses at random would only blur.
    if (this.options.profile !== 'leader-hunt') this.#spoilNetwork()
    for (let tick = 0; tick < this.options.ticks; tick++) {
      this.#cluster.step()
      this.#disturb()
      for (const member of this.#cluster.alive) if (!member.frozen) this.#use(member)
    }
    return this.#converge()
  }

  #spoilNetwork(): void {
    this.#cluster.dropProbability = 0.1 * this.#random.uniform()
    this.#cluster.duplicateProbability = 0.1 * this.#random.uniform()
    this.#cluster.maxDelay = 1 + this.#random.below(8)
  }

  /** One founder, the others join one by one; some histories have three voters, some five. */
  #found(): void {
    const cluster = this.#cluster
    for (const id of MEMBERS) cluster.add(id, id === 'a')
    cluster.members.get('a')!.node!.campaign()
    const voters =
      this.options.profile !== 'leader-hunt' && this.#random.chance(0.5) ? ['b', 'c'] : ['b', 'c', 'd', 'e']
    for (const node of voters) {
      for (const kind of ['add-learner', 'promote'] as const) {
        for (let tick = 0; tick < 6; tick++) {
          cluster.change({ kind, node })
          cluster.step()
        }
      }
    }
  }

  /** What a client does at one member. */
  #use(member: Member): void {
    const random = this.#random
    const client = random.pick(this.#clients)
    if (random.chance(this.#chance.write / 3)) {
      if (client.session === 0) member.node!.propose(client.openRequest())
      else if (client.pending.size < 5) member.node!.propose(client.next())
      else member.node!.propose(random.pick([...client.pending.values()]))
    }
    if (random.chance(this.#chance.read)) member.read()
    if (random.chance(this.#chance.compact)) member.compact(random.below(6))
    member.work()
  }

  #disturb(): void {
    const random = this.#random
    const cluster = this.#cluster
    const anyone = random.pick([...cluster.members.values()])
    if (random.chance(this.#chance.crash)) {
      this.#crashes += 1
      anyone.crash()
    }
    if (random.chance(this.#chance.freeze) && anyone.node !== undefined) anyone.frozen = true
    const back = random.pick([...cluster.members.values()])
    if (random.chance(0.08)) {
      if (back.node === undefined) back.start()
      back.frozen = false
    }
    if (random.chance(this.#chance.cut)) this.#partition(this.#someMembers())
    if (this.options.profile !== 'mixed') this.#huntLeader()
    if (random.chance(0.04)) cluster.cut.clear()
    if (random.chance(this.#chance.transfer)) anyone.node?.transferLeadership(random.pick(MEMBERS))
    if (random.chance(this.#chance.change)) this.#changeMembership()
  }

  /** Through any member, so that two who believe to lead may each be asked. */
  #changeMembership(): void {
    const kind = this.#random.pick(['add-learner', 'promote', 'promote', 'demote', 'remove'] as const)
    const leaders = this.#cluster.alive.filter((member) => member.node!.status().role === 'leader')
    const asked = this.#random.pick([...leaders, ...this.#cluster.alive.slice(0, 2), undefined])
    const result = asked?.node?.changeMembership({ kind, node: this.#random.pick(MEMBERS) })
    if (result?.status === 'accepted') this.#membershipChanges += 1
  }

  #someMembers(): Set<string> {
    return new Set(MEMBERS.filter(() => this.#random.chance(0.5)))
  }

  /** The leader keeps at most two followers; a new one is struck before its first entry is everywhere. */
  #huntLeader(): void {
    const random = this.#random
    const leader = this.#cluster.leader
    if (leader === undefined || !random.chance(leader.node!.status().committedInTerm ? 0.2 : 0.35)) return
    this.#partition(new Set([leader.id, random.pick(MEMBERS), random.pick(MEMBERS)]))
  }

  /** Two sides, cut in both directions or in one. */
  #partition(side: ReadonlySet<string>): void {
    const { cut } = this.#cluster
    cut.clear()
    const oneWay = this.#random.chance(0.3)
    for (const one of side) {
      for (const other of MEMBERS) {
        if (side.has(other)) continue
        cut.add(`${one}>${other}`)
        if (!oneWay) cut.add(`${other}>${one}`)
      }
    }
  }

  #heard(request: Request, result: Result): void {
    if (result.status === 'session') {
      const name = (request.command as unknown as [number, string])[1]
      const client = this.#clients.find((candidate) => candidate.name === name)!
      if (client.session === 0) client.session = result.session
      return
    }
    this.#clients.find(({ session }) => session === request.session)?.heard(request.sequence, result)
  }

  #converge(): HistoryStatistics {
    const cluster = this.#cluster
    cluster.heal()
    let ticks = 0
    do {
      cluster.step()
      ticks += 1
      if (ticks > CONVERGENCE_TICKS) throw new SafetyViolation('liveness', this.#describe())
    } while (!cluster.converged)
    const acknowledged = this.#checkStores()
    const { leaderChanges, confirmedReads, chunksSent } = cluster
    return {
      leaderChanges,
      confirmedReads,
      snapshotChunks: chunksSent,
      applied: cluster.checker.highestApplied,
      acknowledged,
      crashes: this.#crashes,
      membershipChanges: this.#membershipChanges,
      ticksToConverge: ticks,
    }
  }

  /** Nothing acknowledged is lost, nothing took effect twice, and all members are the same to the byte. */
  #checkStores(): number {
    const leader = this.#cluster.leader!
    const machine = (leader.application as StoreApplication).machine
    let acknowledged = 0
    for (const client of this.#clients) {
      acknowledged += client.acknowledged.length
      for (const sequence of client.acknowledged) {
        if (machine.get(client.keyOf(sequence)) === undefined) {
          throw new SafetyViolation('durability', `${client.keyOf(sequence)} was acknowledged and is lost`)
        }
      }
    }
    for (const { key, version } of machine.list({ prefix: '', limit: Number.MAX_SAFE_INTEGER })) {
      if (version !== 1) throw new SafetyViolation('exactly once', `${key} was put ${version} times`)
    }
    const expected = Buffer.from(leader.application.snapshot())
    const { configuration } = leader.node!.status()
    for (const id of [...configuration.voters, ...configuration.learners]) {
      if (expected.equals(this.#cluster.members.get(id)!.application.snapshot())) continue
      throw new SafetyViolation('determinism', `${id} and ${leader.id} have applied the same and differ`)
    }
    return acknowledged
  }

  #describe(): string {
    const lines = this.#cluster.alive.map(({ node }) => {
      const { id, role, term, leader, applied, commit, lastIndex, configuration } = node!.status()
      return `${id} ${role} term ${term} leader ${leader} ${applied}/${commit}/${lastIndex} ${configuration.voters}`
    })
    return `not converged after ${CONVERGENCE_TICKS} ticks\n${lines.join('\n')}`
  }
}

/** Entries go one at a time and elections come fast, so that a leader falls with its entries half replicated. */
const TRICKLE: Partial<RaftOptions> = {
  electionTicks: 4,
  heartbeatTicks: 1,
  maxAppendEntries: 1,
  maxInflightMessages: 1,
}

/** Small bounds, so that every one of them is met. */
function drawOptions(random: SeededRandom): Partial<RaftOptions> {
  return {
    electionTicks: 8 + random.below(8),
    heartbeatTicks: 1 + random.below(3),
    maxAppendEntries: 1 + random.below(8),
    maxInflightMessages: 1 + random.below(5),
    snapshotChunkBytes: 128 << random.below(5),
    maxPendingRequests: 4 + random.below(32),
    requestTimeoutTicks: 10 + random.below(20),
  }
}
