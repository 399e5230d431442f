/**
 * Delta debugging (Zeller and Hildebrandt 2002, "Simplifying and isolating failure-inducing input", ddmin):
 * the shortest sublist found, within a number of tries and as long as `goOn` says so, that still fails. When it ends by itself, no single
 * element can be left out any more.
 *
 * `stillFails` is called with sublists in the original order, never with the same one twice.
 */
export async function shrink<T>(
  items: readonly T[],
  stillFails: (subset: readonly T[]) => Promise<boolean>,
  maxTries: number,
  goOn: () => boolean = () => true,
): Promise<{ readonly kept: readonly T[]; readonly tries: number }> {
  const tried = new Map<string, boolean>()
  let tries = 0
  const isOver = () => tries >= maxTries || !goOn()
  const fails = async (positions: readonly number[]): Promise<boolean> => {
    const key = positions.join()
    const known = tried.get(key)
    if (known !== undefined) return known
    if (isOver()) return false
    tries++
    const result = await stillFails(positions.map((position) => items[position] as T))
    tried.set(key, result)
    return result
  }

  let kept = items.map((_, position) => position)
  if (kept.length > 0 && (await fails([]))) kept = []
  let parts = 2
  while (kept.length > 1 && !isOver()) {
    const smaller = await reduce(kept, parts, fails)
    if (smaller !== undefined) {
      parts = smaller.parts
      kept = smaller.kept
    } else if (parts >= kept.length) break
    else parts = Math.min(kept.length, parts * 2)
  }
  return { kept: kept.map((position) => items[position] as T), tries }
}

/** One round: is one of the parts enough, or can one of them be left out? */
async function reduce(
  kept: readonly number[],
  parts: number,
  fails: (positions: readonly number[]) => Promise<boolean>,
): Promise<{ kept: number[]; parts: number } | undefined> {
  const size = Math.ceil(kept.length / parts)
  for (let from = 0; from < kept.length; from += size) {
    const part = kept.slice(from, from + size)
    if (part.length < kept.length && (await fails(part))) return { kept: part, parts: 2 }
  }
  for (let from = 0; from < kept.length; from += size) {
    const rest = [...kept.slice(0, from), ...kept.slice(from + size)]
    if (rest.length > 0 && (await fails(rest))) return { kept: rest, parts: Math.max(2, parts - 1) }
  }
  return undefined
}
