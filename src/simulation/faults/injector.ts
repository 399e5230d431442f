import type { HostedNode, Server } from '../cluster/server.js'
import type { DiskImage } from '../disk/store.js'
import { EventKind } from '../kernel/event-queue.js'
import type { Kernel } from '../kernel/kernel.js'
import type { VirtualNetwork } from '../network/network.js'
import type { TraceRecorder, TraceSpan } from '../trace/recorder.js'
import { describeFault, type Fault } from './fault.js'

/** What faults happen to. */
export interface FaultTarget {
  readonly kernel: Kernel
  readonly network: VirtualNetwork
  readonly servers: readonly Server<HostedNode>[]
  readonly recorder: TraceRecorder | undefined
  /** Whether that may happen to its disk now without ending what no operator would let end. */
  mayLoseDisk(server: number): boolean
  /** The contents of a server's disk were replaced by something older, or lost (`image` undefined). */
  diskReplaced(server: number, imageFromUs: number | undefined): void
  /** A stored bit was flipped: the server may refuse to start from now on. */
  diskDamaged(server: number): void
}

const US = 1000

/** Carries a schedule out. What it has begun can be ended early for some servers and left as it is for others. */
export class FaultInjector {
  #over = false

  constructor(readonly target: FaultTarget) {}

  /** Schedules everything from now on. */
  begin(faults: readonly Fault[]): void {
    for (const fault of faults) this.#later(fault.atMs, () => this.#apply(fault))
  }

  /**
   * No fault happens or ends by itself any more: what is broken stays so until `repair`.
   */
  end(): void {
    this.#over = true
  }

  /** Makes these servers and everything between them whole. What lies between them and others stays. */
  repair(servers: readonly number[]): void {
    const { conditions } = this.target.network
    for (const one of servers) {
      const server = this.#server(one)
      server.machine.disk.slowdown = 1
      server.machine.disk.full = false
      server.machine.disk.failWrites = 0
      server.heldDown = false
      server.machine.process?.unblock()
      // One that is on its way down would have nobody to start it again.
      if (server.state === 'stopping') server.kill()
      server.start()
      for (const other of servers) conditions.restore(one, other)
    }
  }

  #apply(fault: Fault): void {
    const { recorder, kernel } = this.target
    kernel.record(EventKind.fault, fault.id, 0, 0)
    const involved = serversOf(fault)
    for (const server of involved) {
      recorder?.mark({ kind: 'fault', server, atUs: kernel.nowUs, label: describeFault(fault).trim() })
    }
    switch (fault.kind) {
      case 'crash':
        this.#down(fault.server, fault.forMs, fault.power ? 'power lost' : 'killed', (server) => {
          if (fault.power) server.losePower()
          else server.kill()
        })
        break
      case 'stop':
        this.#stop(fault.server, fault.forMs)
        break
      case 'freeze':
        this.#freeze(fault.server, fault.forMs)
        break
      case 'lag':
        this.#lag(fault.server, fault.stallMs, fault.everyMs, kernel.nowUs + fault.forMs * US)
        break
      case 'partition':
        this.#partition(fault.servers, fault.direction, fault.forMs)
        break
      case 'break':
        this.target.network.breakConnections(fault.one, fault.other, fault.how)
        break
      case 'slow-link':
        this.#slowLink(fault.one, fault.other, fault.factor, fault.forMs)
        break
      case 'clock-jump':
        this.#server(fault.server).machine.clock.jump(fault.byMs)
        break
      case 'slow-disk':
        this.#disk(fault.server, fault.forMs, `disk ${fault.factor} times slower`, (disk, on) => {
          disk.slowdown = on ? fault.factor : 1
        })
        break
      case 'full-disk':
        this.#disk(fault.server, fault.forMs, 'disk full', (disk, on) => {
          disk.full = on
        })
        break
      case 'disk-error':
        this.#server(fault.server).machine.disk.failWrites += fault.writes
        break
      case 'flip-bit':
        this.#flipBit(fault.id, fault.server, fault.forMs)
        break
      case 'restore':
        this.#restore(fault.server, fault.restoreAfterMs, fault.forMs)
        break
      case 'wipe':
        this.#replaceDisk(fault.server, new Map(), undefined, fault.forMs)
    }
  }

  #down(number: number, forMs: number, label: string, how: (server: Server<HostedNode>) => void): void {
    const server = this.#server(number)
    if (server.state === 'down') return
    how(server)
    this.#upLater(server, forMs, label)
  }

  /** Until `forMs` are over the server is down. */
  #upLater(server: Server<HostedNode>, forMs: number, label: string): void {
    server.heldDown = true
    const span = this.#span('down', [server.number], label, forMs)
    this.#later(forMs, () => {
      if (span !== undefined) span.toUs = this.target.kernel.nowUs
      server.heldDown = false
      server.start()
    })
  }

  #stop(number: number, forMs: number): void {
    const server = this.#server(number)
    if (server.state !== 'running') return
    server.stop()
    this.#upLater(server, forMs, 'stopped')
    // Whoever wants to start it meanwhile is refused; a stop that takes too long ends as operators end it.
    this.#later(forMs * 0.9, () => {
      if (server.state === 'stopping') server.kill()
    })
  }

  #freeze(number: number, forMs: number): void {
    const { process } = this.#server(number).machine
    if (process === undefined) return
    process.blockUntil(this.target.kernel.nowUs + forMs * US)
    this.#span('frozen', [number], 'frozen', forMs)
  }

  #lag(number: number, stallMs: number, everyMs: number, untilUs: number): void {
    const { kernel } = this.target
    if (kernel.nowUs >= untilUs) return
    const { process } = this.#server(number).machine
    if (process !== undefined) {
      process.blockUntil(kernel.nowUs + stallMs * US)
      this.#span('frozen', [number], 'event loop stalled', stallMs)
    }
    this.#later(stallMs + everyMs, () => this.#lag(number, stallMs, everyMs, untilUs))
  }

  #partition(side: readonly number[], direction: 'both' | 'in' | 'out', forMs: number): void {
    const { conditions } = this.target.network
    const paths: [number, number][] = []
    for (const inside of side) {
      for (const { number: outside } of this.target.servers) {
        if (side.includes(outside)) continue
        if (direction !== 'in') paths.push([inside, outside])
        if (direction !== 'out') paths.push([outside, inside])
      }
    }
    for (const [from, to] of paths) conditions.cut(from, to)
    this.#span('cut', side, `cut off from the others (${direction})`, forMs)
    this.#later(forMs, () => {
      for (const [from, to] of paths) conditions.heal(from, to)
    })
  }

  #slowLink(one: number, other: number, factor: number, forMs: number): void {
    const { conditions } = this.target.network
    const set = (value: number) => {
      conditions.slow(one, other, value)
      conditions.slow(other, one, value)
    }
    set(factor)
    this.#span('link', [one, other], `link ${one}-${other} ${factor} times slower`, forMs)
    this.#later(forMs, () => set(1))
  }

  #disk(
    number: number,
    forMs: number,
    label: string,
    set: (disk: Server<HostedNode>['machine']['disk'], on: boolean) => void,
  ): void {
    const { disk } = this.#server(number).machine
    set(disk, true)
    this.#span('disk', [number], label, forMs)
    this.#later(forMs, () => set(disk, false))
  }

  #flipBit(id: number, number: number, forMs: number): void {
    const { kernel } = this.target
    const server = this.#server(number)
    const spared = new Set(server.keptElsewhere.keys())
    if (!server.machine.disk.flipBit(kernel.random.fork(`flip-${id}`), spared)) return
    this.target.diskDamaged(number)
    this.#down(number, forMs, 'restarted with a flipped bit', () => server.kill())
  }

  #restore(number: number, restoreAfterMs: number, forMs: number): void {
    const takenUs = this.target.kernel.nowUs
    const image = this.#server(number).machine.disk.image()
    this.#later(restoreAfterMs, () => this.#replaceDisk(number, image, takenUs, forMs))
  }

  #replaceDisk(number: number, image: DiskImage, fromUs: number | undefined, forMs: number): void {
    if (!this.target.mayLoseDisk(number)) return
    const server = this.#server(number)
    server.replaceDisk(image)
    this.target.diskReplaced(number, fromUs)
    this.#upLater(server, forMs, fromUs === undefined ? 'disk lost' : 'backup restored')
  }

  #span(
    kind: TraceSpan['kind'],
    servers: readonly number[],
    label: string,
    forMs: number,
  ): TraceSpan | undefined {
    const fromUs = this.target.kernel.nowUs
    return this.target.recorder?.span({ kind, servers, fromUs, toUs: fromUs + forMs * US, label })
  }

  #server(number: number): Server<HostedNode> {
    const server = this.target.servers[number]
    if (server === undefined) throw new RangeError(`a fault names server ${number}`)
    return server
  }

  #later(delayMs: number, task: () => void): void {
    this.target.kernel.schedule(delayMs * US, EventKind.fault, () => {
      if (!this.#over) task()
    })
  }
}

function serversOf(fault: Fault): readonly number[] {
  if (fault.kind === 'partition') return fault.servers
  return 'server' in fault ? [fault.server] : [fault.one, fault.other]
}
