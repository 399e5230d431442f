import type { Clock } from '../environment/environment.js'

const SIGNALS = ['SIGINT', 'SIGTERM'] as const
/** One Ctrl-C can arrive twice: from the terminal, and passed on by npm or timeout. */
const SAME_SIGNAL_MS = 500

/**
 * Fires at the first SIGINT or SIGTERM. A second one kills the process, so that nobody is locked in by a
 * shutdown that hangs. Give it back with `release`.
 */
export function interruption(clock: Clock): { signal: AbortSignal; release: () => void } {
  const abort = new AbortController()
  let firstMs = 0
  const release = () => {
    for (const name of SIGNALS) process.off(name, onSignal)
  }
  const onSignal = (name: NodeJS.Signals) => {
    if (!abort.signal.aborted) {
      firstMs = clock.monotonicMs()
      abort.abort(name)
      return
    }
    if (clock.monotonicMs() - firstMs < SAME_SIGNAL_MS) return
    release()
    process.kill(process.pid, name)
  }
  for (const name of SIGNALS) process.on(name, onSignal)
  return { signal: abort.signal, release }
}
