/** The value below which a share of the sorted samples lies (nearest rank). NaN without samples. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = Float64Array.from(samples).sort()
  if (sorted.length === 0) return Number.NaN
  const rank = Math.ceil(share * sorted.length)
  return sorted[Math.min(Math.max(rank, 1), sorted.length) - 1]!
}

/** Of an even number of samples the mean of the middle two. NaN without samples. */
export function median(samples: readonly number[]): number {
  const sorted = Float64Array.from(samples).sort()
  const middle = sorted.length >>> 1
  if (sorted.length === 0) return Number.NaN
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** A full cycle through 0 to `length` - 1 in random order, the same in every run. */
export function shuffled(length: number, seed = 0x9e3779b9): Uint32Array {
  const order = Uint32Array.from({ length }, (_, position) => position)
  let state = seed >>> 0
  for (let position = length - 1; position > 0; position--) {
    // Marsaglia's xorshift: every run and both systems see the same keys in the same order.
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    const other = state % (position + 1)
    const value = order[position]!
    order[position] = order[other]!
    order[other] = value
  }
  return order
}

/** The machine's monotonic clock: the same in all processes, so that spans between two of them can be told. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
