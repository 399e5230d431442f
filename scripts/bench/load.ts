/** Latencies of one load, and how long all of it took. */
export interface LoadResult {
  readonly latenciesMs: readonly number[]
  readonly elapsedMs: number
}

/** Keeps `inFlight` operations under way until `seconds` are over; each begins when the one before it has ended. */
export async function load(
  inFlight: number,
  seconds: number,
  operation: (number: number) => Promise<unknown>,
): Promise<LoadResult> {
  const latenciesMs: number[] = []
  const startedMs = performance.now()
  const endMs = startedMs + seconds * 1000
  let number = 0
  const worker = async () => {
    for (let nowMs = performance.now(); nowMs < endMs; ) {
      await operation(number++)
      const afterMs = performance.now()
      latenciesMs.push(afterMs - nowMs)
      nowMs = afterMs
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return { latenciesMs, elapsedMs: performance.now() - startedMs }
}

/** Several loads that ran side by side as one. */
export function together(results: readonly LoadResult[]): LoadResult {
  return {
    latenciesMs: results.flatMap((result) => result.latenciesMs),
    elapsedMs: Math.max(...results.map(({ elapsedMs }) => elapsedMs)),
  }
}

export function ratePerSecond({ latenciesMs, elapsedMs }: LoadResult): number {
  return (latenciesMs.length / elapsedMs) * 1000
}
