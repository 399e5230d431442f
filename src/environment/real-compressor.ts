import { promisify } from 'node:util'
import { constants, deflateRaw, type InputType, inflateRaw, type ZlibOptions } from 'node:zlib'
import { FrameError } from '../sync/errors.js'
import type { Compressor } from './environment.js'

/** Cell tuples shrink to about a third already at the cheapest level; higher ones cost several times more. */
const LEVEL = constants.Z_BEST_SPEED

const deflate = promisify(deflateRaw) as (data: InputType, options: ZlibOptions) => Promise<Uint8Array>
/** With `info` the result tells how much of the input was used. */
const inflate = promisify(inflateRaw) as unknown as (
  data: InputType,
  options: ZlibOptions,
) => Promise<{ buffer: Uint8Array; engine: { bytesWritten: number } }>

/** Raw deflate (RFC 1951) in the thread pool. */
export function createRealCompressor(): Compressor {
  return {
    compress: (data) => deflate(data, { level: LEVEL }),
    decompress: async (data, maxBytes) => {
      try {
        const { buffer, engine } = await inflate(data, { maxOutputLength: maxBytes, info: true })
        if (engine.bytesWritten !== data.length) throw new FrameError('bytes after the compressed data')
        return buffer
      } catch (error) {
        if (error instanceof FrameError) throw error
        throw new FrameError(`compressed data is damaged or too large: ${(error as Error).message}`)
      }
    },
  }
}
