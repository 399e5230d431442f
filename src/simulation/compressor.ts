import type { Compressor } from '../environment/environment.js'
import { EventKind } from './kernel/event-queue.js'
import type { SimulatedProcess } from './kernel/process.js'
import { lzCompress, lzDecompress } from './lempel-ziv.js'

/** Work per byte, as of a fast compressor on another thread: 100 MB/s. */
const BYTES_PER_US = 100
const LEAST_US = 30

/** Compresses with the simulator's own algorithm, and takes virtual time for it as another thread would. */
export class VirtualCompressor implements Compressor {
  constructor(readonly process: SimulatedProcess) {}

  compress(data: Uint8Array): Promise<Uint8Array> {
    const result = lzCompress(data)
    return this.#later(data.length, () => result)
  }

  decompress(data: Uint8Array, maxBytes: number): Promise<Uint8Array> {
    const copy = data.slice()
    return this.#later(data.length, () => lzDecompress(copy, maxBytes))
  }

  #later(bytes: number, work: () => Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.process.schedule(LEAST_US + bytes / BYTES_PER_US, EventKind.compressor, () => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
    })
  }
}
