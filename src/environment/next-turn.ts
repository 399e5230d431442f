import type { Scheduler } from './environment.js'

/** Resolves on a later turn of the event loop, after pending I/O had its chance: what is long takes turns. */
export function nextTurn(scheduler: Pick<Scheduler, 'soon'>): Promise<void> {
  return new Promise((resolve) => scheduler.soon(resolve))
}
