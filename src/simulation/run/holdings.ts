/** What one server holds: topic → the highest number, everything below it included. */
type Held = ReadonlyMap<string, number>

type Change =
  | { readonly atUs: number; readonly kind: 'raise'; readonly topic: string; readonly number: number }
  /** From here on exactly this. */
  | { readonly atUs: number; readonly kind: 'all'; readonly held: Held }

/**
 * Which writes each server holds, in memory or on its disk, over time: so that it can be told what a server that
 * is put back to an earlier state brings back, and what nobody holds any more. A topic names a partition and a
 * replica.
 */
export class Holdings {
  readonly #changes = new Map<number, Change[]>()
  readonly #now = new Map<number, Map<string, number>>()

  raised(server: number, atUs: number, topic: string, number: number): void {
    const held = this.#heldBy(server)
    if (number <= (held.get(topic) ?? 0)) return
    held.set(topic, number)
    this.#log(server, { atUs, kind: 'raise', topic, number })
  }

  /** What a process has found on its disk, and nothing else. */
  counted(server: number, atUs: number, held: Held): void {
    this.#now.set(server, new Map(held))
    this.#log(server, { atUs, kind: 'all', held })
  }

  /** The server is as it was at `backToUs`; undefined: it has nothing. */
  forgot(server: number, atUs: number, backToUs: number | undefined): void {
    this.counted(server, atUs, backToUs === undefined ? new Map() : this.#asOf(server, backToUs))
  }

  /** The highest number of that topic that this server holds. */
  of(server: number, topic: string): number {
    return this.#now.get(server)?.get(topic) ?? 0
  }

  /** The same at an earlier time. */
  at(server: number, atUs: number, topic: string): number {
    return this.#asOf(server, atUs).get(topic) ?? 0
  }

  /** The highest number of that topic that a server other than this one holds. */
  elsewhere(server: number, topic: string): number {
    let highest = 0
    for (const [other, held] of this.#now) {
      if (other !== server) highest = Math.max(highest, held.get(topic) ?? 0)
    }
    return highest
  }

  #asOf(server: number, atUs: number): Held {
    const held = new Map<string, number>()
    for (const change of this.#changes.get(server) ?? []) {
      if (change.atUs > atUs) break
      if (change.kind === 'raise') held.set(change.topic, change.number)
      else {
        held.clear()
        for (const [topic, number] of change.held) held.set(topic, number)
      }
    }
    return held
  }

  #heldBy(server: number): Map<string, number> {
    let held = this.#now.get(server)
    if (held === undefined) {
      held = new Map()
      this.#now.set(server, held)
    }
    return held
  }

  #log(server: number, change: Change): void {
    const changes = this.#changes.get(server)
    if (changes === undefined) this.#changes.set(server, [change])
    else changes.push(change)
  }
}
