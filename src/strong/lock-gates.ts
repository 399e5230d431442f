import type { Operation } from '../raft/state-machine/commands.js'
import { gateKey } from './lock-keys.js'
import type { HeldLease } from './node-lease.js'
import type { StrongStore } from './strong-store.js'

/**
 * Keeps writes of unknown outcome from taking effect late. A waiter's key is put only if the gate of its lease has
 * the revision that the writer knew. When it is not known whether a waiter was put, one transaction puts the gate
 * anew and deletes the waiter: if the waiter was there it is gone, and if it was still on its way it finds another
 * gate and does nothing. Without that, a waiter that arrives after its removal would stay at the head of the queue
 * for as long as this server renews its lease.
 */
export class LockGates {
  private readonly revisions = new Map<number, Promise<number>>()

  constructor(private readonly store: StrongStore) {}

  /** Revision of the lease's gate, put now if this server does not know it. @throws as StrongStore.transact */
  revision(lease: HeldLease): Promise<number> {
    const { id } = lease
    let revision = this.revisions.get(id)
    if (revision === undefined) {
      revision = this.store.transact({ success: [this.put(id)] }).then((result) => result.revision)
      this.revisions.set(id, revision)
      revision.catch(() => this.forget(id, revision!))
      lease.onLost(() => this.revisions.delete(id))
    }
    return revision
  }

  put(lease: number): Operation {
    return { kind: 'put', key: gateKey(lease), value: new Uint8Array(0), lease }
  }

  /** It has been put, at that revision. */
  moved(lease: number, revision: number): void {
    if (this.revisions.has(lease)) this.revisions.set(lease, Promise.resolve(revision))
  }

  /** The gate does not have the revision that this promise gave: unless another one is known by now, ask anew. */
  forget(lease: number, revision: Promise<number>): void {
    if (this.revisions.get(lease) === revision) this.revisions.delete(lease)
  }
}
