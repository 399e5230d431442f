import type { Environment } from '../../environment/environment.js'
import type { DiskImage } from '../disk/store.js'
import { EventKind } from '../kernel/event-queue.js'
import type { Machine } from '../machine.js'

/** What the cluster needs of a node, besides what workloads and checkers do with it. */
export interface HostedNode {
  stop(): Promise<void>
}

/** How the cluster starts a node on a machine; `generation` counts the processes of that server. */
export type StartNode<N extends HostedNode> = (
  server: number,
  environment: Environment,
  generation: number,
) => Promise<N>

export type ServerState = 'down' | 'starting' | 'running' | 'stopping'

/** Told of what happens to a server. */
export interface ServerListener<N extends HostedNode> {
  running(server: Server<N>, node: N): void
  /** The process is gone, with all it had in memory. `clean`: it had stopped as asked. */
  gone(server: Server<N>, clean: boolean): void
  /** The node refused to start; the process has ended. */
  startFailed(server: Server<N>, error: unknown): void
  stopFailed(server: Server<N>, error: unknown): void
}

/** A server whose process is started, stopped and killed by somebody who knows no mercy. */
export class Server<N extends HostedNode> {
  #state: ServerState = 'down'
  #node: N | undefined
  #generation = 0
  /** True while somebody else decides when it comes back (it is being restored, or it is out of the game). */
  heldDown = false

  constructor(
    readonly number: number,
    readonly name: string,
    readonly machine: Machine,
    readonly startNode: StartNode<N>,
    readonly listener: ServerListener<N>,
  ) {}

  get state(): ServerState {
    return this.#state
  }

  /** The node, while it runs and has not been asked to stop. */
  get node(): N | undefined {
    return this.#state === 'running' ? this.#node : undefined
  }

  /** Number of the process, from 1; 0 before the first. */
  get generation(): number {
    return this.#generation
  }

  start(): void {
    if (this.#state !== 'down' || this.heldDown) return
    this.#state = 'starting'
    const generation = ++this.#generation
    const { process, environment } = this.machine.start()
    process.schedule(0, EventKind.harness, () => {
      this.startNode(this.number, environment, generation).then(
        (node) => this.#started(generation, node),
        (error: unknown) => this.#failed(generation, error),
      )
    })
  }

  /** Asks the node to stop, as an operator would; then the process ends. */
  stop(): void {
    const node = this.#node
    if (this.#state !== 'running' || node === undefined) return
    this.#state = 'stopping'
    const generation = this.#generation
    this.machine.process?.schedule(0, EventKind.harness, () => {
      node.stop().then(
        () => this.#stopped(generation, undefined),
        (error: unknown) => this.#stopped(generation, error),
      )
    })
  }

  kill(): void {
    if (this.#state === 'down') return
    this.machine.kill()
    this.#gone(false)
  }

  losePower(): void {
    this.machine.losePower()
    if (this.#state !== 'down') this.#gone(false)
  }

  /** Files that the operator keeps a copy of elsewhere, by path: the server's key. */
  readonly keptElsewhere = new Map<string, Uint8Array>()

  /** Replaces what is on the disk, but for what the operator has a copy of; the process dies first. */
  replaceDisk(image: DiskImage): void {
    this.kill()
    this.machine.disk.restore(new Map([...image, ...this.keptElsewhere]))
  }

  #started(generation: number, node: N): void {
    if (generation !== this.#generation || this.#state !== 'starting') return
    this.#state = 'running'
    this.#node = node
    this.listener.running(this, node)
  }

  #failed(generation: number, error: unknown): void {
    if (generation !== this.#generation || this.#state !== 'starting') return
    this.machine.kill()
    this.#gone(true)
    this.listener.startFailed(this, error)
  }

  #stopped(generation: number, error: unknown): void {
    if (generation !== this.#generation || this.#state !== 'stopping') return
    this.machine.kill()
    this.#gone(error === undefined)
    if (error !== undefined) this.listener.stopFailed(this, error)
  }

  #gone(clean: boolean): void {
    this.#state = 'down'
    this.#node = undefined
    this.listener.gone(this, clean)
  }
}
