/** Keys per block: a block is moved as a whole on insertion, the list of blocks is searched by halves. */
const MAX_BLOCK_KEYS = 512

/**
 * A set of strings in the order of their UTF-16 units, for prefix lists: blocks of sorted arrays, so that
 * insertion among a million keys moves some hundred and not half a million.
 */
export class SortedKeys {
  /** Never an empty block, except that there is always one. */
  #blocks: string[][] = [[]]
  #size = 0

  get size(): number {
    return this.#size
  }

  add(key: string): boolean {
    const at = this.#blockOf(key)
    const block = this.#blocks[at]!
    const place = lowerBound(block, key)
    if (block[place] === key) return false
    block.splice(place, 0, key)
    this.#size += 1
    if (block.length > MAX_BLOCK_KEYS) this.#blocks.splice(at + 1, 0, block.splice(block.length >> 1))
    return true
  }

  delete(key: string): boolean {
    const at = this.#blockOf(key)
    const block = this.#blocks[at]!
    const place = lowerBound(block, key)
    if (block[place] !== key) return false
    block.splice(place, 1)
    this.#size -= 1
    if (block.length === 0 && this.#blocks.length > 1) this.#blocks.splice(at, 1)
    return true
  }

  /** Ascending from the first key at or after `from`. The set must not change meanwhile. */
  *from(from: string): Generator<string> {
    let at = this.#blockOf(from)
    let place = lowerBound(this.#blocks[at]!, from)
    for (; at < this.#blocks.length; at++) {
      const block = this.#blocks[at]!
      for (; place < block.length; place++) yield block[place]!
      place = 0
    }
  }

  /** The last block whose first key is not above `key`. */
  #blockOf(key: string): number {
    let low = 0
    let high = this.#blocks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#blocks[middle]![0]! <= key) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** Position of the first element that is not below `key`. */
function lowerBound(block: readonly string[], key: string): number {
  let low = 0
  let high = block.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (block[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
