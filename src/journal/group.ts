import { FLAG_GROUP_END, FRAME_TARGET_BYTES, FrameBuilder, RECORD_PREFIX_BYTES } from './frame.js'

/**
 * Size at which a group takes no further `append` call, so that one write stays short and its buffers stay
 * few. A single larger call still makes one group: a call is atomic.
 */
export const GROUP_TARGET_BYTES = 4 * 1024 * 1024
/** Frame buffers kept for reuse: the group being written and the one being filled. */
const MAX_SPARE_BUILDERS = (2 * GROUP_TARGET_BYTES) / FRAME_TARGET_BYTES

/** Frame buffers that are not in use. */
export class FrameBuilderPool {
  readonly #spare: FrameBuilder[] = []

  take(): FrameBuilder {
    return this.#spare.pop() ?? new FrameBuilder()
  }

  give(builder: FrameBuilder): void {
    // One grown for an outsized record would pin its memory for ever.
    if (builder.capacity > 2 * FRAME_TARGET_BYTES || this.#spare.length >= MAX_SPARE_BUILDERS) return
    builder.reset()
    this.#spare.push(builder)
  }
}

/** Records that become durable with one write. */
export class Group {
  readonly #pool: FrameBuilderPool
  readonly #builders: FrameBuilder[]
  #last: FrameBuilder
  /** Records and their prefixes: what counts against MAX_PENDING_BYTES. */
  bytes = 0
  /** Position of its last record. */
  endPosition = 0

  constructor(pool: FrameBuilderPool) {
    this.#pool = pool
    this.#last = pool.take()
    this.#builders = [this.#last]
  }

  add(record: Uint8Array): void {
    if (!this.#last.fits(record)) {
      this.#last = this.#pool.take()
      this.#builders.push(this.#last)
    }
    this.#last.add(record)
    this.bytes += RECORD_PREFIX_BYTES + record.length
  }

  /** The frames to write; the same bytes again when called again. */
  seal(mark: number, sequence: number, flags = 0): Uint8Array[] {
    const end = this.#builders.length - 1
    return this.#builders.map((builder, part) =>
      builder.seal(mark, { flags: part === end ? flags | FLAG_GROUP_END : flags, part, sequence }),
    )
  }

  /** Gives the buffers back; the group is over. */
  recycle(): void {
    for (const builder of this.#builders) this.#pool.give(builder)
  }
}
