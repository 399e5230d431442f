import type { MeshNodeOptions } from '../../node/config.js'
import { MeshNode } from '../../node/mesh-node.js'
import type { NodeStatus } from '../../node/status.js'
import type { Storage } from '../../node/storage.js'
import { ALL_CHECKERS } from '../checkers/all.js'
import type { Checker } from '../checkers/checker.js'
import { Cluster } from '../cluster/cluster.js'
import type { Server } from '../cluster/server.js'
import { override, type Replacement } from '../override.js'
import { GroupSurvival } from '../strong/group-survival.js'
import { StrongHistory } from '../strong/history.js'
import { attachApplication } from './application.js'
import { Holdings } from './holdings.js'
import { labelOfFrame } from './label-of-frame.js'
import { Ledger, type LedgerEntry } from './ledger.js'
import type { Named } from './named.js'
import type { Place, RunOptions } from './options.js'
import { RESOLVERS } from './resolvers.js'
import { snapshotSooner } from './snapshot-sooner.js'
import { TransferAccount } from './transfer-account.js'
import type { Violation } from './violation.js'
import { WithdrawalBook } from './withdrawal-book.js'

/** A server whose process ended by itself is started again after this, as a supervisor would. */
const SUPERVISOR_DELAY_MS = 500
const SECRET = new Uint8Array(32).fill(7)
const PORT = 7000
/** Whoever has this key is this server: without it nobody lets the name in again, so operators keep a copy. */
const KEY_FILE = '/data/server.key'

/** Something that was asked of a node and has not been answered. */
export interface OpenQuestion {
  readonly what: string
  readonly server: number
  readonly generation: number
  readonly atUs: number
}

export interface ServerStatus {
  readonly server: Server<MeshNode>
  readonly status: NodeStatus
}

export interface PublishedEvent {
  readonly eventId: string
  readonly origin: number
  readonly publishedUs: number
  readonly entry: LedgerEntry
}

/** What the subscriber of one process has heard. */
export interface Heard {
  readonly sinceUs: number
  readonly events: Set<string>
}

/** One simulated history: the cluster, what the harness knows of it, and the first promise that was broken. */
export class Run {
  readonly cluster: Cluster<MeshNode>
  readonly ledger = new Ledger()
  readonly withdrawals = new WithdrawalBook()
  /** Operations by the name that they have in the ledgers of the servers. */
  readonly named = new Map<string, Named>()
  readonly holdings = new Holdings()
  readonly strong = new StrongHistory(() => this.nowUs)
  readonly transfers = new TransferAccount()
  readonly checkers: readonly Checker[]
  readonly places: readonly Place[]
  readonly items: readonly string[]
  readonly published: PublishedEvent[] = []
  readonly heard = new Map<string, Heard>()
  violation: Violation | undefined
  /** Why the run ended early without a verdict: a documented limit of the product was met. */
  excuse: string | undefined
  #statuses: readonly ServerStatus[] = []
  #statusesAt = -1
  readonly #open = new Set<OpenQuestion>()
  readonly #damaged = new Set<number>()
  readonly #survival = new GroupSurvival(this)
  readonly #cleanUps: (() => void)[] = []
  readonly #runningListeners: ((server: Server<MeshNode>, node: MeshNode) => void)[] = []
  readonly #restoredListeners: ((server: number, toUs: number) => void)[] = []
  /** Kernel events that the harness itself has scheduled for later. */
  plannedEvents = 0

  constructor(
    readonly options: RunOptions,
    record: boolean,
  ) {
    this.places = options.places
    this.items = Array.from({ length: options.items }, (_, number) => `sim:item_${number}`)
    this.cluster = new Cluster<MeshNode>(
      { ...options, record, labelOf: labelOfFrame },
      (server, environment) =>
        this.#start(server, {
          clusterId: 'simulated',
          serverId: options.names[server]!,
          secret: SECRET,
          listen: { host: options.names[server]!, port: PORT },
          peers: options.peers[server]!.map((peer) => `ws://${options.names[peer]}:${PORT}`),
          worlds: options.worlds[server]!,
          durability: options.durability[server]!,
          ...(options.durability[server] === 'memory' ? {} : { dataDir: '/data' }),
          ...(options.ledgers[server] && { ledger: {} }),
          ...options.node,
          resolver: RESOLVERS[options.resolvers[server]!],
          environment,
        }),
      {
        running: (server, node) => this.#running(server, node),
        gone: (server) => this.#gone(server),
        startFailed: (server, error) => this.#startFailed(server, error),
        stopFailed: (server, error) => this.#stopFailed(server, error),
        uncaught: (server, error) => this.fail('N1', `uncaught: ${stackOf(error)}`, server),
        mayLoseDisk: (server) => this.#survival.mayLose(server),
        diskReplaced: (server, fromUs) => this.#forgot(server, fromUs),
        diskDamaged: (server) => {
          this.#damaged.add(server)
          this.ledger.serverForgot(server, this.nowUs, undefined)
        },
      },
    )
    this.atCleanUp(snapshotSooner(options.snapshotEveryBytes))
    this.checkers = ALL_CHECKERS.map((create) => create(this))
  }

  get nowUs(): number {
    return this.cluster.kernel.nowUs
  }

  /** Ends the run without a verdict: what follows from here is outside of what the product promises. */
  endWithout(excuse: string): void {
    if (this.over) return
    this.excuse = excuse
    this.cluster.kernel.stop()
  }

  get over(): boolean {
    return this.violation !== undefined || this.excuse !== undefined
  }

  /** The first broken promise ends the run. */
  fail(invariant: string, detail: string, server: number | undefined): void {
    if (this.over) return
    this.violation = { invariant, detail, server, atUs: this.nowUs }
    this.cluster.recorder?.mark({
      kind: 'violation',
      server,
      atUs: this.nowUs,
      label: `${invariant}: ${detail}`,
    })
    this.cluster.kernel.stop()
  }

  /** Undoes what the run has done to the process it runs in. */
  cleanUp(): void {
    for (const task of this.#cleanUps.splice(0).reverse()) task()
  }

  atCleanUp(task: () => void): void {
    this.#cleanUps.push(task)
  }

  /** Replaces a method of a class until the run is over; ../override.ts says what for. */
  override<T extends object, K extends keyof T>(target: T, name: K, replace: Replacement<T, K>): void {
    this.atCleanUp(override(target, name, replace))
  }

  /** Called whenever a node has started. */
  onRunning(listener: (server: Server<MeshNode>, node: MeshNode) => void): void {
    this.#runningListeners.push(listener)
  }

  /** Called whenever a backup has been put back, with the time at which it was taken. */
  onRestored(listener: (server: number, toUs: number) => void): void {
    this.#restoredListeners.push(listener)
  }

  observe(): void {
    for (const checker of this.checkers) checker.observe?.()
  }

  /** The status of every running node; taken once between two events, since several checkers ask. */
  statuses(): readonly ServerStatus[] {
    const { executed } = this.cluster.kernel
    if (this.#statusesAt !== executed) {
      this.#statusesAt = executed
      this.#statuses = this.cluster.servers.flatMap((server) =>
        server.node === undefined ? [] : [{ server, status: server.node.status() }],
      )
    }
    return this.#statuses
  }

  hosts(server: number, place: Place): boolean {
    return place.world === undefined || this.options.worlds[server]!.includes(place.world)
  }

  storage(node: MeshNode, place: Place): Storage {
    return node.storage(place.storage, place.world === undefined ? {} : { world: place.world })
  }

  /** Watches over a promise that a node has given: it must settle while the process lives. */
  ask(
    server: Server<MeshNode>,
    what: string,
    promise: Promise<unknown>,
    done: (error: unknown) => void,
  ): void {
    const question = { what, server: server.number, generation: server.generation, atUs: this.nowUs }
    this.#open.add(question)
    const settle = (error: unknown) => {
      this.#open.delete(question)
      done(error)
    }
    promise.then(
      () => settle(undefined),
      (error: unknown) => settle(error ?? new Error('rejected with nothing')),
    )
  }

  openQuestions(): OpenQuestion[] {
    return [...this.#open].filter(({ server, generation }) => {
      const asked = this.cluster.servers[server]
      return asked?.generation === generation && asked.state === 'running'
    })
  }

  /** One server founds the strong group, at its first start that gets so far; the disk knows whether it has. */
  async #start(server: number, options: MeshNodeOptions): Promise<MeshNode> {
    if (server !== this.options.founder || this.strong.founded) return MeshNode.start(options)
    try {
      return await MeshNode.start({ ...options, found: true })
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'CONFIG_INVALID') throw error
      return MeshNode.start(options)
    }
  }

  #running(server: Server<MeshNode>, node: MeshNode): void {
    const keyFile = server.machine.disk.image().get(KEY_FILE)
    if (keyFile !== undefined) server.keptElsewhere.set(KEY_FILE, keyFile)
    const events = new Set<string>()
    const key = `${server.number} ${server.generation}`
    this.heard.set(key, { sinceUs: this.nowUs, events })
    this.#mark(server.number, 'node runs')
    for (const listener of this.#runningListeners) listener(server, node)
    attachApplication(this, server, node)
    node.on('event', (event) => {
      if (event.type === 'SERVER_JOIN' || event.type === 'SERVER_LEAVE') return
      if (events.has(event.eventId)) this.fail('E2', `event ${event.eventId} came twice`, server.number)
      events.add(event.eventId)
    })
    node.on('mismatch', ({ serverId, replica }) => {
      this.fail('S1', `${server.name} reports unequal state with ${serverId} for ${replica}`, server.number)
    })
    node.on('incarnation', ({ replica }) => this.#mark(server.number, `new incarnation ${replica}`))
    node.on('linkRefused', (refusal) => this.#mark(server.number, `link refused: ${JSON.stringify(refusal)}`))
    const restartWhenFailed = () => {
      if (node.status().journal !== 'failed') return
      this.#mark(server.number, 'journal failed: the supervisor restarts the process')
      const { generation } = server
      this.cluster.after(SUPERVISOR_DELAY_MS, () => {
        if (server.generation !== generation) return
        server.kill()
        server.start()
      })
    }
    node.on('journal', ({ status }) => {
      this.#mark(server.number, `journal ${status}`)
      if (status === 'failed') restartWhenFailed()
    })
    restartWhenFailed()
  }

  #gone(server: Server<MeshNode>): void {
    this.#mark(server.number, 'process gone')
    if (this.#keepsNothing(server.number)) this.#forgot(server.number, undefined)
  }

  /** Its disk is as it was at `backToUs`, or empty. */
  #forgot(server: number, backToUs: number | undefined): void {
    const toUs = this.#keepsNothing(server) ? undefined : backToUs
    this.ledger.serverForgot(server, this.nowUs, toUs)
    this.holdings.forgot(server, this.nowUs, toUs)
    if (toUs === undefined) return
    for (const listener of this.#restoredListeners) listener(server, toUs)
  }

  #keepsNothing(server: number): boolean {
    return this.options.durability[server] === 'memory'
  }

  #startFailed(server: Server<MeshNode>, error: unknown): void {
    this.#mark(server.number, `start failed: ${textOf(error)}`)
    if (this.#damaged.has(server.number)) {
      // A stored bit was flipped, here or in the backup that was put back. What the message advises: move the
      // directory away and let the server rejoin with an empty one.
      server.replaceDisk(new Map())
      this.#forgot(server.number, undefined)
    } else if (!isDiskTrouble(error)) {
      this.fail('N2', `${server.name} does not start: ${textOf(error)}`, server.number)
      return
    }
    this.cluster.after(SUPERVISOR_DELAY_MS, () => server.start())
  }

  #stopFailed(server: Server<MeshNode>, error: unknown): void {
    if (!isDiskTrouble(error))
      this.fail('N2', `${server.name} does not stop: ${textOf(error)}`, server.number)
  }

  #mark(server: number, label: string): void {
    this.cluster.recorder?.mark({ kind: 'node', server, atUs: this.nowUs, label })
  }
}

/** Trouble that a disk fault explains; a supervisor tries again. */
function isDiskTrouble(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code
  return code === 'DISK_FULL' || code === 'DISK_FAILED' || code === 'JOURNAL_FAILED'
}

export function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

/** With where it was thrown, for what should not have been thrown at all. */
export function stackOf(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : String(error)
}
