/**
 * The only file of the simulator that touches the real event loop (and allowed to by the import test): it
 * runs steps one after another and lets every promise reaction of a step finish before the next one.
 *
 * Node runs the whole microtask queue between two immediates (since Node 11), so one immediate per step is
 * enough, however long the chain of promises; queueing them in batches saves the poll of the event loop
 * that a single immediate would cost (measured: 1 M steps a second one by one, 9 M in batches of 256).
 */
const BATCH_SIZE = 256

/**
 * Calls `step` again and again until it returns false; resolves when the promise reactions of the last step
 * have run. Rejects with what a step throws.
 */
export function runSteps(step: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let ended = false
    const one = () => {
      if (ended) return
      try {
        if (step()) return
        ended = true
        setImmediate(resolve)
      } catch (error) {
        ended = true
        setImmediate(reject, error)
      }
    }
    const batch = () => {
      one()
      if (ended) return
      for (let count = 1; count < BATCH_SIZE; count++) setImmediate(one)
      setImmediate(batch)
    }
    setImmediate(batch)
  })
}
