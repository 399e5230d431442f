import type { Compressor } from '../environment/environment.js'
import { FrameError } from '../sync/errors.js'
import { EventKind } from './kernel/event-queue.js'
import type { SimulatedProcess } from './kernel/process.js'

/** First byte of what `compress` returns, so that damaged or foreign bytes are told from real ones. */
const MARKER = 0xc5
/** Work per byte, as of a fast compressor on another thread: 100 MB/s. */
const BYTES_PER_US = 100
const LEAST_US = 30

/**
 * Does not compress: a marker before the data, and time as a real one would take. The bytes of zlib differ
 * between Node versions, which would make the trace differ; that they can be inflated is zlib's business.
 */
export class VirtualCompressor implements Compressor {
  constructor(readonly process: SimulatedProcess) {}

  compress(data: Uint8Array): Promise<Uint8Array> {
    const result = new Uint8Array(data.length + 1)
    result[0] = MARKER
    result.set(data, 1)
    return this.#later(data.length, (resolve) => resolve(result))
  }

  decompress(data: Uint8Array, maxBytes: number): Promise<Uint8Array> {
    const copy = data.slice(1)
    const marker = data[0]
    return this.#later(data.length, (resolve, reject) => {
      if (marker !== MARKER) reject(new FrameError('compressed data is damaged'))
      else if (copy.length > maxBytes) reject(new FrameError(`decompressed data exceeds ${maxBytes} bytes`))
      else resolve(copy)
    })
  }

  #later(
    bytes: number,
    finish: (resolve: (data: Uint8Array) => void, reject: (error: Error) => void) => void,
  ): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.process.schedule(LEAST_US + bytes / BYTES_PER_US, EventKind.compressor, () =>
        finish(resolve, reject),
      )
    })
  }
}
