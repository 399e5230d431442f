import type { DiskProfile } from '../disk/store.js'
import type { FaultTarget } from '../faults/injector.js'
import { EventKind } from '../kernel/event-queue.js'
import { Kernel } from '../kernel/kernel.js'
import { Machine } from '../machine.js'
import { NetworkConditions, type NetworkProfile } from '../network/conditions.js'
import { VirtualNetwork } from '../network/network.js'
import { TraceRecorder } from '../trace/recorder.js'
import { type HostedNode, Server, type ServerListener, type StartNode } from './server.js'

export interface ClusterOptions {
  readonly seed: number | string
  readonly names: readonly string[]
  readonly network: NetworkProfile
  readonly disk: DiskProfile
  /** Largest difference of a clock's rate from 1, and of its wall time from the true one. */
  readonly maxClockDrift: number
  readonly maxWallOffsetMs: number
  /** Keep what the space-time diagram needs. Does not change the history. */
  readonly record: boolean
  /** Names a message for the diagram. */
  readonly labelOf?: (message: Uint8Array) => string
}

/** What the owner of a cluster is told. */
export interface ClusterListener<N extends HostedNode> extends ServerListener<N> {
  /** An event of a server (or of the harness, `undefined`) threw: in production the process would be gone. */
  uncaught(server: number | undefined, error: unknown): void
  /** Whether the contents of a server's disk may be replaced by something older now; left out: always. */
  mayLoseDisk?(server: number): boolean
  diskReplaced(server: number, imageFromUs: number | undefined): void
  diskDamaged(server: number): void
}

/** Simulated servers on one kernel: the place where faults happen. Knows nothing of what the nodes do. */
export class Cluster<N extends HostedNode> implements FaultTarget {
  readonly kernel: Kernel
  readonly network: VirtualNetwork
  readonly servers: readonly Server<N>[]
  readonly recorder: TraceRecorder | undefined

  constructor(
    readonly options: ClusterOptions,
    startNode: StartNode<N>,
    readonly listener: ClusterListener<N>,
  ) {
    this.kernel = new Kernel({
      seed: options.seed,
      onError: (error, owner) => listener.uncaught(owner?.server, error),
    })
    this.recorder = options.record ? new TraceRecorder() : undefined
    const conditions = new NetworkConditions(options.network, this.kernel.random.fork('network'))
    const { recorder } = this
    const { labelOf } = options
    this.network = new VirtualNetwork(
      this.kernel,
      conditions,
      recorder === undefined
        ? undefined
        : (from, to, sentUs, message) =>
            recorder.message({
              from,
              to,
              sentUs,
              receivedUs: this.kernel.nowUs,
              bytes: message.length,
              label: labelOf?.(message) ?? 'message',
            }),
    )
    this.servers = options.names.map(
      (name, number) => new Server(number, name, this.#machine(number), startNode, listener),
    )
  }

  get nowMs(): number {
    return this.kernel.nowUs / 1000
  }

  mayLoseDisk(server: number): boolean {
    return this.listener.mayLoseDisk?.(server) ?? true
  }

  diskReplaced(server: number, imageFromUs: number | undefined): void {
    this.listener.diskReplaced(server, imageFromUs)
  }

  diskDamaged(server: number): void {
    this.listener.diskDamaged(server)
  }

  /** Runs `task` as the harness, outside of every process, in `delayMs`. */
  after(delayMs: number, task: () => void): void {
    this.kernel.schedule(delayMs * 1000, EventKind.harness, task)
  }

  /** Runs `task` as code embedded in that server's process, as a game server calls its node. */
  within(server: Server<N>, task: (node: N) => void): void {
    const { process } = server.machine
    if (server.node === undefined || process === undefined) return
    process.schedule(0, EventKind.harness, () => {
      if (server.node !== undefined) task(server.node)
    })
  }

  /** Lets `ms` of virtual time pass, or less when something calls `kernel.stop`. */
  pass(ms: number): Promise<void> {
    return this.kernel.run(this.kernel.nowUs + ms * 1000)
  }

  #machine(server: number): Machine {
    const { options } = this
    const draw = this.kernel.random.fork(`machine-${server}`)
    return new Machine(this.kernel, this.network, {
      server,
      disk: options.disk,
      clockRate: 1 + (draw.uniform() * 2 - 1) * options.maxClockDrift,
      wallOffsetMs: Math.floor((draw.uniform() * 2 - 1) * options.maxWallOffsetMs),
    })
  }
}
