import { FrameError } from '../sync/errors.js'

const SHORTEST_MATCH = 5
const TABLE_BITS = 14

/**
 * A small compressor of the LZ77 family (Ziv and Lempel 1977), whose bytes depend on nothing but the input:
 * zlib's differ between Node versions. Format: literal count, literals, match length (0 ends), distance …,
 * numbers as unsigned varints.
 */
export function lzCompress(data: Uint8Array): Uint8Array {
  const output: number[] = []
  const table = new Int32Array(1 << TABLE_BITS).fill(-1)
  let literalsFrom = 0
  let at = 0
  while (at + SHORTEST_MATCH <= data.length) {
    const slot = slotOf(data, at)
    const candidate = table[slot] as number
    table[slot] = at
    const length = candidate < 0 ? 0 : matchLength(data, candidate, at)
    if (length < SHORTEST_MATCH) {
      at++
      continue
    }
    putLiterals(output, data, literalsFrom, at)
    putNumber(output, length)
    putNumber(output, at - candidate)
    at += length
    literalsFrom = at
  }
  putLiterals(output, data, literalsFrom, data.length)
  putNumber(output, 0)
  return Uint8Array.from(output)
}

/** @throws FrameError when damaged or when the result would exceed `maxBytes`. */
export function lzDecompress(data: Uint8Array, maxBytes: number): Uint8Array {
  let result = new Uint8Array(Math.min(maxBytes, data.length * 4 + 64))
  let size = 0
  let at = 0
  const number = (): number => {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = data[at++]
      if (byte === undefined) break
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new FrameError('compressed data is damaged')
  }
  const reserve = (bytes: number) => {
    if (size + bytes > maxBytes) throw new FrameError(`decompressed data exceeds ${maxBytes} bytes`)
    if (size + bytes <= result.length) return
    const grown = new Uint8Array(Math.min(maxBytes, Math.max(size + bytes, result.length * 2)))
    grown.set(result)
    result = grown
  }
  for (;;) {
    const literals = number()
    if (at + literals > data.length) throw new FrameError('compressed data is damaged')
    reserve(literals)
    result.set(data.subarray(at, at + literals), size)
    at += literals
    size += literals
    const length = number()
    if (length === 0) break
    const distance = number()
    if (distance === 0 || distance > size) throw new FrameError('compressed data is damaged')
    reserve(length)
    for (let copied = 0; copied < length; copied++, size++) result[size] = result[size - distance] as number
  }
  if (at !== data.length) throw new FrameError('bytes after the end of compressed data')
  return result.slice(0, size)
}

function slotOf(data: Uint8Array, at: number): number {
  const word =
    (data[at] as number) |
    ((data[at + 1] as number) << 8) |
    ((data[at + 2] as number) << 16) |
    ((data[at + 3] as number) << 24)
  return Math.imul(word, 0x9e3779b1) >>> (32 - TABLE_BITS)
}

function matchLength(data: Uint8Array, candidate: number, at: number): number {
  let length = 0
  while (at + length < data.length && data[candidate + length] === data[at + length]) length++
  return length
}

function putLiterals(output: number[], data: Uint8Array, from: number, to: number): void {
  putNumber(output, to - from)
  for (let at = from; at < to; at++) output.push(data[at] as number)
}

function putNumber(output: number[], value: number): void {
  let rest = value
  while (rest > 0x7f) {
    output.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  output.push(rest)
}
