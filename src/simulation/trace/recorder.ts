/** What the space-time diagram is drawn from. Times in virtual microseconds, servers by number. */
export interface RecordedTrace {
  readonly messages: readonly TraceMessage[]
  readonly spans: readonly TraceSpan[]
  readonly marks: readonly TraceMark[]
  /** Messages that were not kept, all of them older than those that were. */
  readonly droppedMessages: number
}

export interface TraceMessage {
  readonly from: number
  readonly to: number
  readonly sentUs: number
  readonly receivedUs: number
  readonly bytes: number
  readonly label: string
}

/** Something that lasts: a server is down or frozen, a path is cut. */
export interface TraceSpan {
  readonly kind: 'down' | 'frozen' | 'cut' | 'disk' | 'link'
  readonly servers: readonly number[]
  readonly fromUs: number
  toUs: number
  readonly label: string
}

/** Something that happens at an instant. */
export interface TraceMark {
  readonly kind: 'operation' | 'fault' | 'node' | 'violation' | 'phase'
  /** Undefined: all of them. */
  readonly server: number | undefined
  readonly atUs: number
  readonly label: string
}

/** Messages kept for the page: the newest ones, since a violation is at the end. */
const MAX_MESSAGES = 40_000
const MAX_MARKS = 20_000

export class TraceRecorder {
  readonly #messages: TraceMessage[] = []
  #received = 0
  readonly #spans: TraceSpan[] = []
  readonly #marks: TraceMark[] = []

  message(message: TraceMessage): void {
    this.#messages[this.#received++ % MAX_MESSAGES] = message
  }

  /** The span can be closed later by setting `toUs`. */
  span(span: TraceSpan): TraceSpan {
    this.#spans.push(span)
    return span
  }

  mark(mark: TraceMark): void {
    if (this.#marks.length < MAX_MARKS || mark.kind === 'violation') this.#marks.push(mark)
  }

  trace(): RecordedTrace {
    const messages = [...this.#messages].sort((left, right) => left.sentUs - right.sentUs)
    return {
      messages,
      spans: this.#spans,
      marks: this.#marks,
      droppedMessages: this.#received - messages.length,
    }
  }
}
