import { promisify } from 'node:util'
import { constants, deflateRaw, type InputType, inflateRaw, type ZlibOptions } from 'node:zlib'
import { FrameError } from '../sync/errors.js'
import type { Compressor } from './environment.js'

/** Cell tuples shrink to about a third already at the cheapest level; higher ones cost several times more. */
const LEVEL = constants.Z_BEST_SPEED
/**
 * They come back three to seven times as large: in one piece of so many times their size, which has not to be copied
 * together from several. What grows beyond comes in several.
 */
const EXPECTED_GROWTH = 10
const MIN_PIECE_BYTES = 4 * 1024
/** A usual bulk frame and a little more. */
const MAX_PIECE_BYTES = 68 * 1024

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
        const chunkSize = Math.max(MIN_PIECE_BYTES, Math.min(EXPECTED_GROWTH * data.length, MAX_PIECE_BYTES))
        const { buffer, engine } = await inflate(data, { maxOutputLength: maxBytes, info: true, chunkSize })
        if (engine.bytesWritten !== data.length) throw new FrameError('bytes after the compressed data')
        return buffer
      } catch (error) {
        if (error instanceof FrameError) throw error
        throw new FrameError(`compressed data is damaged or too large: ${(error as Error).message}`)
      }
    },
  }
}
