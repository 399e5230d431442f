/** Connections that one remote address may open in a burst, and how many a second it wins back. */
const CONNECTION_BURST = 100
const CONNECTIONS_PER_SECOND = 20
/** Addresses remembered; the least recently seen is forgotten first. */
const MAX_TRACKED_ADDRESSES = 4096

/** Token buckets per remote address: how often each may connect. */
export class ConnectionRateLimit {
  private readonly buckets = new Map<string, { tokens: number; atMs: number }>()

  constructor(private readonly nowMs: () => number) {}

  /** Takes one token; false when the address has none left. */
  admit(address: string): boolean {
    const nowMs = this.nowMs()
    const bucket = this.buckets.get(address) ?? { tokens: CONNECTION_BURST, atMs: nowMs }
    // Deleted and set again, so that the map's order is that of last use.
    this.buckets.delete(address)
    this.buckets.set(address, bucket)
    if (this.buckets.size > MAX_TRACKED_ADDRESSES) this.buckets.delete(this.buckets.keys().next().value!)
    const refill = ((nowMs - bucket.atMs) * CONNECTIONS_PER_SECOND) / 1000
    bucket.tokens = Math.min(CONNECTION_BURST, bucket.tokens + refill)
    bucket.atMs = nowMs
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }
}
