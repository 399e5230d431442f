/**
 * Which servers can find each other: a configured address, or a member that a server has seen, leads to a link
 * from one side, and a link serves both.
 */
export class Acquaintances {
  /** `peers`: per server those that it dials by its configuration. */
  readonly #peers: readonly (readonly number[])[]
  readonly #known: ReadonlySet<number>[]

  constructor(peers: readonly (readonly number[])[]) {
    this.#peers = peers
    this.#known = peers.map((known) => new Set(known))
  }

  /** That server has found these others among the members of the mesh. What it has once known counts as known. */
  met(server: number, others: Iterable<number>): void {
    this.#known[server] = new Set([...this.#known[server]!, ...others])
  }

  /** That server has heard that these have left: it dials them no more, and they have to come by themselves. */
  parted(server: number, others: Iterable<number>): void {
    const gone = new Set(others)
    const known = [...this.#known[server]!].filter((other) => !gone.has(other))
    this.#known[server] = new Set([...known, ...this.#peers[server]!])
  }

  /** Those of `servers` that can find each other, by way of each other; every server is in one group. */
  groups(servers: readonly number[]): number[][] {
    const left = new Set(servers)
    const groups: number[][] = []
    for (const first of servers) {
      if (!left.delete(first)) continue
      const group = [first]
      for (const one of group) {
        for (const other of [...left]) {
          if (!this.#known[one]!.has(other) && !this.#known[other]!.has(one)) continue
          left.delete(other)
          group.push(other)
        }
      }
      groups.push(group)
    }
    return groups
  }
}
