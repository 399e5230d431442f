/** A promise that its keys go when it is not renewed. How much time has passed is the leader's business. */
export interface Lease {
  readonly id: number
  readonly ttlMs: number
  /** Counts keep-alives, so that an expiry decided before one of them does nothing. */
  readonly renewals: number
}

interface HeldLease extends Lease {
  renewals: number
  readonly keys: Set<string>
}

export class Leases {
  readonly #leases = new Map<number, HeldLease>()

  get size(): number {
    return this.#leases.size
  }

  get(id: number): Lease | undefined {
    return this.#leases.get(id)
  }

  all(): Lease[] {
    return Array.from(this.#leases.values(), ({ id, ttlMs, renewals }) => ({ id, ttlMs, renewals }))
  }

  grant(id: number, ttlMs: number, renewals = 0): void {
    this.#leases.set(id, { id, ttlMs, renewals, keys: new Set() })
  }

  renew(id: number): Lease | undefined {
    const lease = this.#leases.get(id)
    if (lease !== undefined) lease.renewals += 1
    return lease
  }

  /** Removes the lease and returns its keys, sorted: the order of attachment is not part of a snapshot. */
  end(id: number): string[] {
    const lease = this.#leases.get(id)
    this.#leases.delete(id)
    return lease === undefined ? [] : [...lease.keys].sort()
  }

  keyCount(id: number): number {
    return this.#leases.get(id)?.keys.size ?? 0
  }

  attach(id: number, key: string): void {
    this.#leases.get(id)?.keys.add(key)
  }

  detach(id: number, key: string): void {
    this.#leases.get(id)?.keys.delete(key)
  }
}
