import { STATE_MACHINE_LIMITS } from '../raft/state-machine/limits.js'
import { type HeldLease, type LeaseOptions, NodeLease } from './node-lease.js'

/** Uses of one lease, one key each; some room is left for keys whose removal is not confirmed yet. */
export const MAX_USES_PER_LEASE = STATE_MACHINE_LIMITS.maxKeysPerLease - 24

/** One key's place under a lease of this server. */
export interface LeaseUse {
  readonly lease: HeldLease
  /** When the key is certainly gone, or the lease is lost. Idempotent. */
  end(): void
}

/**
 * This server's leases: normally one. The group bounds the keys of a lease, so a server that holds more (a
 * thousand transfers) gets another one.
 */
export class LeasePool {
  private readonly leases: NodeLease[] = []
  private stopped = false

  constructor(private readonly options: LeaseOptions) {}

  /** @throws what `StrongStore.grantLease` throws; NotRunningError */
  async use(): Promise<LeaseUse> {
    let nodeLease = this.leases.find(({ uses }) => uses < MAX_USES_PER_LEASE)
    if (nodeLease === undefined) {
      nodeLease = new NodeLease(this.options)
      this.leases.push(nodeLease)
    }
    const used = nodeLease
    used.uses += 1
    const end = endOnce(used)
    try {
      if (this.stopped) await used.stop()
      return { lease: await used.acquire(), end }
    } catch (error) {
      end()
      throw error
    }
  }

  /** One more use of a lease that this server holds, by its id: for a key found there. Undefined when it does not. */
  useOf(lease: number): LeaseUse | undefined {
    for (const nodeLease of this.leases) {
      const held = nodeLease.current
      if (held?.id !== lease) continue
      nodeLease.uses += 1
      return { lease: held, end: endOnce(nodeLease) }
    }
    return undefined
  }

  /** Looks at the clock: leases whose time is up are lost now, even where a stall has kept timers from firing. */
  check(): void {
    for (const lease of this.leases) void lease.current
  }

  /** Gives all of them back. Never rejects. */
  async stop(): Promise<void> {
    this.stopped = true
    await Promise.all(this.leases.map((lease) => lease.stop()))
  }
}

function endOnce(lease: NodeLease): () => void {
  let ended = false
  return () => {
    if (ended) return
    ended = true
    lease.uses -= 1
  }
}
