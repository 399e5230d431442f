import { FrameError } from '../sync/errors.js'
import { MAX_MESSAGE_BYTES } from '../wire/wire-value.js'

/**
 * The frame format: one flag byte, then a body, which is a sequence of [unsigned varint length][message].
 * Bit 0 of the flags: the body is compressed (raw deflate). All other bits are reserved and refused, since a
 * peer that needs one has to negotiate it as a feature first.
 */

/** Largest body, after decompression. */
export const MAX_FRAME_BYTES = 512 * 1024
/** Most messages in one frame. */
export const MAX_MESSAGES_PER_FRAME = 8192
/** Bodies above this are worth a trip to the thread pool. */
export const COMPRESS_ABOVE_BYTES = 4 * 1024
/** What a length adds to its message: MAX_MESSAGE_BYTES takes three bytes. */
const MAX_LENGTH_BYTES = 3

const PLAIN = 0
const COMPRESSED = 1

/** A frame, flag byte in front, of messages whose total the caller has kept within the caps. */
export function encodeFrame(messages: readonly Uint8Array[]): Uint8Array {
  let size = 1
  for (const message of messages) size += lengthBytes(message.length) + message.length
  const frame = new Uint8Array(size)
  frame[0] = PLAIN
  let offset = 1
  for (const message of messages) {
    offset = writeLength(frame, offset, message.length)
    frame.set(message, offset)
    offset += message.length
  }
  return frame
}

/** The compressed form of a frame, given its body's compression. */
export function compressedFrame(compressedBody: Uint8Array): Uint8Array {
  const frame = new Uint8Array(compressedBody.length + 1)
  frame[0] = COMPRESSED
  frame.set(compressedBody, 1)
  return frame
}

/** Tells whether the body (`frame` from byte 1) is compressed. @throws FrameError on an empty or unknown frame. */
export function isCompressedFrame(frame: Uint8Array): boolean {
  const flags = frame[0]
  if (flags === undefined) throw new FrameError('empty frame')
  if (flags !== PLAIN && flags !== COMPRESSED) throw new FrameError(`unknown frame flags ${flags}`)
  // A compressed body may not be larger than what it stands for, plus what incompressible data adds.
  if (frame.length - 1 > MAX_FRAME_BYTES) throw new FrameError(`frame of ${frame.length} bytes`)
  return flags === COMPRESSED
}

/**
 * Splits a decompressed body. All lengths are checked before the first message is handed out, so a frame
 * that does not add up delivers nothing. The messages are views of `body`.
 * @throws FrameError
 */
export function splitBody(body: Uint8Array): Uint8Array[] {
  if (body.length > MAX_FRAME_BYTES) throw new FrameError(`frame body of ${body.length} bytes`)
  if (body.length === 0) throw new FrameError('frame without messages')
  const messages: Uint8Array[] = []
  let offset = 0
  while (offset < body.length) {
    if (messages.length === MAX_MESSAGES_PER_FRAME) {
      throw new FrameError(`more than ${MAX_MESSAGES_PER_FRAME} messages in a frame`)
    }
    const length = readLength(body, offset)
    offset += lengthBytes(length)
    if (length === 0) throw new FrameError('empty message')
    if (length > MAX_MESSAGE_BYTES) throw new FrameError(`message of ${length} bytes`)
    if (length > body.length - offset) throw new FrameError('a message reaches beyond its frame')
    messages.push(body.subarray(offset, offset + length))
    offset += length
  }
  return messages
}

function lengthBytes(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : MAX_LENGTH_BYTES
}

function writeLength(target: Uint8Array, offset: number, length: number): number {
  let rest = length
  let position = offset
  while (rest >= 0x80) {
    target[position++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[position++] = rest
  return position
}

/** LEB128, at most three bytes, shortest form only: `lengthBytes` of the result is what was read. */
function readLength(body: Uint8Array, offset: number): number {
  let length = 0
  for (let count = 0; count < MAX_LENGTH_BYTES; count++) {
    const byte = body[offset + count]
    if (byte === undefined) throw new FrameError('a message length is cut short')
    length |= (byte & 0x7f) << (7 * count)
    if (byte >= 0x80) continue
    if (byte === 0 && count > 0) throw new FrameError('a message length is longer than it needs to be')
    return length
  }
  throw new FrameError(`a message length takes more than ${MAX_LENGTH_BYTES} bytes`)
}
