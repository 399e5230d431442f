import fc from 'fast-check'
import t from 'tap'
import { lzCompress, lzDecompress } from '../../src/simulation/lempel-ziv.js'
import { FrameError } from '../../src/sync/errors.js'

/** Bytes with repetitions in them. */
const data = fc
  .array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 30 })), {
    maxLength: 20,
  })
  .map((runs) =>
    Uint8Array.from(runs.flatMap(([run, times]) => Array.from({ length: times }, () => [...run]).flat())),
  )

t.test('what goes in comes out, up to the allowed size and no further', async (t) => {
  fc.assert(
    fc.property(data, (bytes) => {
      const packed = lzCompress(bytes)
      const unpacked = lzDecompress(packed, bytes.length)
      if (Buffer.compare(unpacked, bytes) !== 0) return false
      if (bytes.length === 0) return true
      try {
        lzDecompress(packed, bytes.length - 1)
        return false
      } catch (error) {
        return error instanceof FrameError
      }
    }),
  )
  const text = new TextEncoder().encode('minecraft:diamond,'.repeat(500))
  t.ok(lzCompress(text).length < text.length / 50)
})

t.test('damaged data is refused or decoded within the bound, never worse', async (t) => {
  fc.assert(
    fc.property(data, fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, where, flip) => {
      const packed = lzCompress(bytes)
      packed[where % packed.length]! ^= flip
      try {
        return lzDecompress(packed, 10_000).length <= 10_000
      } catch (error) {
        return error instanceof FrameError
      }
    }),
    { numRuns: 500 },
  )
  t.throws(() => lzDecompress(new Uint8Array(0), 100), FrameError)
})
