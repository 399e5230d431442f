/**
 * Replaces a method of a class while a simulation runs: the only way in which checkers look over a node's
 * shoulder and mutants break one. Production cannot get here: nothing outside src/simulation imports this
 * folder but its random generator (a test says so), the replacement lives on the prototype of this process only, and
 * what is returned, which puts the original back, is called when the run ends, however it ends (`Run.override`).
 */
export function override<T extends object, K extends keyof T>(
  target: T,
  name: K,
  replace: Replacement<T, K>,
): () => void {
  const original = target[name]
  if (typeof original !== 'function') throw new TypeError(`${String(name)} is not a method`)
  target[name] = replace(original as T[K] & Method) as T[K]
  return () => {
    target[name] = original
  }
}

/** Makes the method that stands in for `T[K]` of the original one. */
export type Replacement<T, K extends keyof T> = (original: T[K] & Method) => ThisMethod<T, T[K]>

// biome-ignore lint/suspicious/noExplicitAny: the bound of "any function" cannot be written without it
type Method = (...args: any[]) => any

type ThisMethod<T, F> = F extends (...args: infer A) => infer R ? (this: T, ...args: A) => R : never
