import type { Environment } from '../environment/environment.js'
import { ServerClock, VirtualClock, VirtualScheduler } from './clock.js'
import { VirtualCompressor } from './compressor.js'
import { ProcessDisk } from './disk/process-disk.js'
import { type DiskProfile, StoredDisk } from './disk/store.js'
import type { Kernel } from './kernel/kernel.js'
import { SimulatedProcess } from './kernel/process.js'
import type { SeededRandom } from './kernel/random.js'
import type { VirtualNetwork } from './network/network.js'
import { ProcessNetwork } from './network/process-network.js'

export interface MachineOptions {
  readonly server: number
  readonly disk: DiskProfile
  /** Clock seconds per true second. */
  readonly clockRate: number
  readonly wallOffsetMs: number
}

/** A simulated computer: its clock and disk outlive the processes that run on it one after another. */
export class Machine {
  readonly server: number
  readonly disk: StoredDisk
  readonly clock: ServerClock
  readonly #random: SeededRandom
  #process: SimulatedProcess | undefined
  #generation = 0

  constructor(
    readonly kernel: Kernel,
    readonly network: VirtualNetwork,
    options: MachineOptions,
  ) {
    this.server = options.server
    this.#random = kernel.random.fork(`server-${options.server}`)
    this.disk = new StoredDisk(options.disk, this.#random.fork('disk'))
    this.clock = new ServerClock(options.clockRate, options.wallOffsetMs)
  }

  /** The process that runs now. */
  get process(): SimulatedProcess | undefined {
    return this.#process?.alive ? this.#process : undefined
  }

  /** Starts a process and gives it an environment of its own. Powers the machine on if it was off. */
  start(): { process: SimulatedProcess; environment: Environment } {
    if (this.process !== undefined) throw new Error(`server ${this.server} runs a process already`)
    this.network.powerOn(this.server)
    const process = new SimulatedProcess(this.kernel, this.server, ++this.#generation)
    this.#process = process
    return { process, environment: this.environment(process) }
  }

  /** kill -9: what was handed to the system is safe. */
  kill(): void {
    this.#process?.kill()
  }

  /** The power goes: unsynced data may be lost, and nobody on the network is told. */
  losePower(): void {
    if (this.network.isPoweredOff(this.server)) return
    this.network.powerOff(this.server)
    this.#process?.kill()
    this.disk.losePower()
  }

  environment(process: SimulatedProcess): Environment {
    const random = this.#random.fork(`process-${process.generation}`)
    const bytes = random.fork('bytes')
    const uniform = random.fork('uniform')
    const monotonicStartMs = random.fork('monotonic').integer(1, 1_000_000)
    return {
      clock: new VirtualClock(process, this.clock, monotonicStartMs),
      random: { bytes: (length) => bytes.bytes(length), uniform: () => uniform.uniform() },
      scheduler: new VirtualScheduler(process, this.clock, random.fork('timers')),
      network: new ProcessNetwork(process, this.network),
      disk: new ProcessDisk(process, this.disk),
      compressor: new VirtualCompressor(process),
    }
  }
}
