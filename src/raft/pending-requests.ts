/** A request that went to the leader and has no answer yet. */
export interface PendingRequest {
  readonly kind: 'proposal' | 'read'
  readonly bytes: number
  readonly sinceTick: number
}

/** The id of the proposal at `position` of the batch that `requestId` names. */
export function batchedId(requestId: string, position: number): string {
  return position === 0 ? requestId : `${requestId}+${position}`
}

/**
 * What this node has asked of a leader elsewhere. Ids are unique over restarts (a random prefix per run):
 * an answer meant for the process before the crash can never be taken for one of today's.
 */
export class PendingRequests {
  readonly #prefix: string
  #counter = 0
  #bytes = 0
  readonly #requests = new Map<string, PendingRequest>()

  constructor(random: () => number) {
    const part = () => Math.floor(random() * 2 ** 32).toString(36)
    this.#prefix = `${part()}${part()}`
  }

  get count(): number {
    return this.#requests.size
  }

  get bytes(): number {
    return this.#bytes
  }

  nextId(): string {
    this.#counter += 1
    return `${this.#prefix}-${this.#counter}`
  }

  add(requestId: string, request: PendingRequest): void {
    this.#requests.set(requestId, request)
    this.#bytes += request.bytes
  }

  take(requestId: string): PendingRequest | undefined {
    const request = this.#requests.get(requestId)
    if (request === undefined) return undefined
    this.#requests.delete(requestId)
    this.#bytes -= request.bytes
    return request
  }

  /** Removes and returns those asked before `tick`; the map keeps them in the order they were asked. */
  takeOlderThan(tick: number): [string, PendingRequest][] {
    const old: [string, PendingRequest][] = []
    for (const entry of this.#requests) {
      if (entry[1].sinceTick >= tick) break
      old.push(entry)
    }
    for (const [requestId] of old) this.take(requestId)
    return old
  }

  takeAll(): [string, PendingRequest][] {
    return this.takeOlderThan(Number.POSITIVE_INFINITY)
  }
}
