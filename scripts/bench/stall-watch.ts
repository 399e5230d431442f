import { monitorEventLoopDelay } from 'node:perf_hooks'

export interface Stalls {
  readonly p999Ms: number
  readonly maxMs: number
}

const RESOLUTION_MS = 1

/** Times between two turns of this process's event loop, sampled each millisecond, from now until `stop`. */
export class StallWatch {
  private readonly histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })

  constructor() {
    this.histogram.enable()
  }

  stop(): Stalls {
    this.histogram.disable()
    return { p999Ms: this.histogram.percentile(99.9) / 1e6, maxMs: this.histogram.max / 1e6 }
  }
}
