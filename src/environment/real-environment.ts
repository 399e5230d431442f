import { randomBytes } from 'node:crypto'
import type { Environment, Scheduler, Timer } from './environment.js'
import { createRealCompressor } from './real-compressor.js'
import { createRealDisk } from './real-disk.js'
import { createRealNetwork } from './real-network.js'

/** setTimeout takes 31 bits; a longer wait is a chain of shorter ones. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** The environment of production: this process's clocks, randomness, timers, sockets and files. */
export function createRealEnvironment(): Environment {
  return {
    clock: { wallMs: () => Date.now(), monotonicMs: () => performance.now() },
    random: { bytes: (length) => Uint8Array.from(randomBytes(length)), uniform: () => Math.random() },
    scheduler: realScheduler,
    network: createRealNetwork(),
    disk: createRealDisk(),
    compressor: createRealCompressor(),
  }
}

const realScheduler: Scheduler = {
  after: (delayMs, task) => new RealTimer(delayMs, task),
  soon: (task) => {
    setImmediate(task)
  },
}

class RealTimer implements Timer {
  private readonly dueMs: number
  private handle: NodeJS.Timeout | undefined

  constructor(
    delayMs: number,
    private readonly task: () => void,
  ) {
    this.dueMs = performance.now() + delayMs
    // Never at once: the caller has not got its timer yet.
    this.handle = setTimeout(() => this.wait(), Math.min(Math.max(0, Math.ceil(delayMs)), MAX_TIMEOUT_MS))
    this.handle.unref()
  }

  cancel(): void {
    clearTimeout(this.handle)
    this.handle = undefined
  }

  private wait(): void {
    const remainingMs = this.dueMs - performance.now()
    // Also re-armed when the loop's coarser clock fires a fraction of a millisecond early.
    if (remainingMs <= 0) {
      this.task()
      return
    }
    this.handle = setTimeout(() => this.wait(), Math.min(Math.ceil(remainingMs), MAX_TIMEOUT_MS))
    this.handle.unref()
  }
}
