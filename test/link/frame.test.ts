import fc from 'fast-check'
import t from 'tap'
import { createRealCompressor } from '../../src/environment/real-compressor.js'
import {
  compressedFrame,
  encodeFrame,
  isCompressedFrame,
  MAX_FRAME_BYTES,
  MAX_MESSAGES_PER_FRAME,
  splitBody,
} from '../../src/link/frame.js'
import { FrameError } from '../../src/sync/errors.js'
import { encodeMessage } from '../../src/wire/encode.js'
import { decodeTuple, messageTypeOf } from '../../src/wire/safe-cbor.js'
import { MAX_MESSAGE_BYTES, type WireValue } from '../../src/wire/wire-value.js'

t.test('messages come out of a frame as they went in', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 20_000 }), { minLength: 1, maxLength: 30 }),
      (all) => {
        const frame = encodeFrame(all)
        if (isCompressedFrame(frame)) throw new Error('flag')
        t.same(
          splitBody(frame.subarray(1)).map((message) => Uint8Array.from(message)),
          all,
        )
      },
    ),
  )
  for (const size of [1, 127, 128, 16_383, 16_384, MAX_MESSAGE_BYTES]) {
    t.equal(splitBody(encodeFrame([new Uint8Array(size)]).subarray(1))[0]!.length, size)
  }
})

t.test('frames that break a rule', async (t) => {
  const refused = (name: string, action: () => unknown) => t.throws(action, FrameError, name)
  refused('no bytes at all', () => isCompressedFrame(new Uint8Array(0)))
  for (const flags of [2, 3, 0x80, 0xff])
    refused(`flags ${flags}`, () => isCompressedFrame(Uint8Array.of(flags, 1, 0)))
  refused('over the cap', () => isCompressedFrame(new Uint8Array(MAX_FRAME_BYTES + 2)))
  refused('body over the cap', () => splitBody(new Uint8Array(MAX_FRAME_BYTES + 1)))
  refused('no message', () => splitBody(new Uint8Array(0)))
  refused('empty message', () => splitBody(Uint8Array.of(0)))
  refused('length cut short', () => splitBody(Uint8Array.of(0x80)))
  refused('length beyond the frame', () => splitBody(Uint8Array.of(5, 1, 2)))
  refused('padded length', () => splitBody(Uint8Array.of(0x81, 0)))
  refused('length of four bytes', () => splitBody(Uint8Array.of(0x80, 0x80, 0x80, 1, 1)))
  const tooLong = new Uint8Array(MAX_MESSAGE_BYTES + 4)
  tooLong.set([0x81, 0x80, 0x10])
  refused('message over the cap', () => splitBody(tooLong))
  const many = new Uint8Array((MAX_MESSAGES_PER_FRAME + 1) * 2).fill(1)
  refused('too many messages', () => splitBody(many))
  t.equal(splitBody(many.subarray(2)).length, MAX_MESSAGES_PER_FRAME)
})

t.test('100,000 mutated frames: a value or a FrameError, never anything else', async (t) => {
  const compressor = createRealCompressor()
  const random = generator(20_26)
  const corpus = Array.from({ length: 40 }, (_, index) => encodeFrame(realMessages(index + 1)))
  const compressed = await Promise.all(
    corpus.map(async (frame) => compressedFrame(await compressor.compress(frame.subarray(1)))),
  )
  const counts = { good: 0, refused: 0 }
  const tally = async (frame: Uint8Array) => {
    try {
      const body = isCompressedFrame(frame)
        ? await compressor.decompress(frame.subarray(1), MAX_FRAME_BYTES)
        : frame.subarray(1)
      for (const message of splitBody(body)) {
        messageTypeOf(message)
        decodeTuple(message)
      }
      counts.good += 1
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      counts.refused += 1
    }
  }
  for (let round = 0; round < 96_000; round++) await tally(mutate(corpus[round % corpus.length]!, random))
  // A thread for each: fewer of these, and in parallel.
  for (let round = 0; round < 4_000; round += 40) {
    await Promise.all(compressed.map((frame) => tally(mutate(frame, random))))
  }
  t.equal(counts.good + counts.refused, 100_000)
  t.ok(counts.refused > 50_000, `${counts.refused} refused`)
  t.ok(counts.good > 1_000, `${counts.good} still well-formed`)
})

function realMessages(seed: number): Uint8Array[] {
  const random = generator(seed)
  return Array.from({ length: 1 + (seed % 7) }, (_, index) => {
    const cells: WireValue[] = Array.from({ length: 1 + (seed % 5) }, (_, cell) => [
      `minecraft:item_${Math.floor(random() * 1000)}`,
      cell,
      Math.floor(random() * 2 ** 40),
      random(),
      random() < 0.5,
      null,
      Uint8Array.from({ length: seed % 20 }, () => random() * 256),
    ])
    return encodeMessage([8 + index, 'überwelt', cells])
  })
}

/** Flips, overwrites, cuts, inserts, repeats: one to four times. */
function mutate(frame: Uint8Array, random: () => number): Uint8Array {
  let bytes = Uint8Array.from(frame)
  const place = () => Math.floor(random() * bytes.length)
  for (let count = 1 + Math.floor(random() * 4); count > 0 && bytes.length > 0; count--) {
    switch (Math.floor(random() * 6)) {
      case 0:
        bytes[place()]! ^= 1 << Math.floor(random() * 8)
        break
      case 1:
        bytes[place()] = random() * 256
        break
      case 2:
        bytes[place()] = [0, 0x1b, 0x7f, 0x80, 0x9f, 0xc2, 0xff][Math.floor(random() * 7)]!
        break
      case 3:
        bytes = bytes.slice(0, place())
        break
      case 4: {
        const at = place()
        bytes = Uint8Array.of(...bytes.subarray(0, at), Math.floor(random() * 256), ...bytes.subarray(at))
        break
      }
      default: {
        const at = place()
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(Math.floor(at / 2)))
      }
    }
  }
  return bytes
}

function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
