const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/**
 * Fires at the first SIGINT or SIGTERM. A second one kills the process, so that nobody is locked in by a
 * shutdown that hangs. Give it back with `release`.
 */
export function interruption(onSecond: () => void = () => undefined): {
  signal: AbortSignal
  release: () => void
} {
  const abort = new AbortController()
  const release = () => {
    for (const name of SIGNALS) process.off(name, onSignal)
  }
  const onSignal = (name: NodeJS.Signals) => {
    if (!abort.signal.aborted) {
      abort.abort(name)
      return
    }
    onSecond()
    release()
    process.kill(process.pid, name)
  }
  for (const name of SIGNALS) process.on(name, onSignal)
  return { signal: abort.signal, release }
}
