export type RedisReply = string | number | null | Error | readonly RedisReply[]

const CARRIAGE_RETURN = 13
const PLUS = 43
const MINUS = 45
const COLON = 58
const DOLLAR = 36
const STAR = 42
const ZERO = 48

/** Raised inside the parser when a reply is not complete yet. */
const INCOMPLETE = Symbol('incomplete')

/** Reads replies of Redis's protocol (RESP2) off a byte stream. Text is taken as latin1. */
export class ReplyParser {
  private bytes: Buffer = Buffer.alloc(0)
  private offset = 0

  constructor(private readonly onReply: (reply: RedisReply) => void) {}

  take(chunk: Buffer): void {
    const rest = this.bytes.length - this.offset
    this.bytes = rest === 0 ? chunk : Buffer.concat([this.bytes.subarray(this.offset), chunk])
    this.offset = 0
    while (this.offset < this.bytes.length) {
      const start = this.offset
      const reply = this.read()
      if (reply === INCOMPLETE) {
        this.offset = start
        return
      }
      this.onReply(reply)
    }
  }

  private read(): RedisReply | typeof INCOMPLETE {
    switch (this.bytes[this.offset++]) {
      case COLON:
        return this.readInteger()
      case PLUS:
        return this.readLine()
      case MINUS: {
        const text = this.readLine()
        return text === INCOMPLETE ? text : new Error(text)
      }
      case DOLLAR:
        return this.readBulk()
      case STAR:
        return this.readArray()
      default:
        throw new Error('not a reply of Redis')
    }
  }

  private readInteger(): number | typeof INCOMPLETE {
    const { bytes } = this
    let offset = this.offset
    const negative = bytes[offset] === MINUS
    if (negative) offset += 1
    let value = 0
    for (; offset + 1 < bytes.length; offset++) {
      const byte = bytes[offset]!
      if (byte === CARRIAGE_RETURN) {
        this.offset = offset + 2
        return negative ? -value : value
      }
      value = value * 10 + (byte - ZERO)
    }
    return INCOMPLETE
  }

  private readLine(): string | typeof INCOMPLETE {
    const end = this.bytes.indexOf('\r\n', this.offset, 'latin1')
    if (end < 0) return INCOMPLETE
    const text = this.bytes.toString('latin1', this.offset, end)
    this.offset = end + 2
    return text
  }

  private readBulk(): string | null | typeof INCOMPLETE {
    const length = this.readInteger()
    if (length === INCOMPLETE) return length
    if (length < 0) return null
    const end = this.offset + length
    if (end + 2 > this.bytes.length) return INCOMPLETE
    const text = this.bytes.toString('latin1', this.offset, end)
    this.offset = end + 2
    return text
  }

  private readArray(): readonly RedisReply[] | null | typeof INCOMPLETE {
    const length = this.readInteger()
    if (length === INCOMPLETE) return length
    if (length < 0) return null
    const replies: RedisReply[] = []
    for (let position = 0; position < length; position++) {
      if (this.offset >= this.bytes.length) return INCOMPLETE
      const reply = this.read()
      if (reply === INCOMPLETE) return INCOMPLETE
      replies.push(reply)
    }
    return replies
  }
}
