import type { SiloMeshError } from '../sync/errors.js'

interface Waiter {
  readonly position: number
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: SiloMeshError) => void
}

/** Promises for positions, one per position, in ascending order. */
export class DurabilityWaiters {
  #waiters: Waiter[] = []

  wait(position: number): Promise<void> {
    let at = this.#waiters.length
    // Nearly always the newest position, so the search from the end is one step.
    while (at > 0 && this.#waiters[at - 1]!.position > position) at -= 1
    const same = this.#waiters[at - 1]
    if (same?.position === position) return same.promise
    const waiter = newWaiter(position)
    if (at === this.#waiters.length) this.#waiters.push(waiter)
    else this.#waiters.splice(at, 0, waiter)
    return waiter.promise
  }

  resolveUpTo(position: number): void {
    let count = 0
    while (count < this.#waiters.length && this.#waiters[count]!.position <= position) count += 1
    if (count === 0) return
    for (const waiter of this.#waiters.splice(0, count)) waiter.resolve()
  }

  rejectAll(error: SiloMeshError): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.reject(error)
  }
}

function newWaiter(position: number): Waiter {
  let resolve: () => void = () => {}
  let reject: (error: SiloMeshError) => void = () => {}
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { position, promise, resolve, reject }
}
