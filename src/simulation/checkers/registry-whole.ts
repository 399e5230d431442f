import { ANCHOR_PREFIX, lastSegment, TRANSFER_PREFIX } from '../../registry/keys.js'
import type { Run } from '../run/run.js'
import { strongOf } from '../strong/access.js'
import type { Checker } from './checker.js'

/**
 * Anchors and transfers are whole on every server (RAFT-16): one anchor for each position and one place in its storage for
 * each anchor, two ends for each transfer, and both of these are anchors that exist.
 */
export function registryWhole(run: Run): Checker {
  return {
    invariants: ['RAFT-16'],
    atEnd() {
      for (const server of run.cluster.servers) {
        if (server.node === undefined) continue
        const problem = brokenRule(
          strongOf(server.node)
            .list('')
            .map(({ key, value }) => [key, new TextDecoder().decode(value)]),
        )
        if (problem !== undefined) run.fail('RAFT-16', `${server.name}: ${problem}`, server.number)
      }
    },
  }
}

function brokenRule(entries: readonly (readonly [key: string, text: string])[]): string | undefined {
  const keys = new Set(entries.map(([key]) => key))
  const isAnchor = (id: string) => keys.has(ANCHOR_PREFIX + id)
  const isTransfer = (id: string) => keys.has(TRANSFER_PREFIX + id)
  const counts = new Map<string, number>()
  for (const [key, text] of entries) {
    const kind = kindOf(key)
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
    const last = lastSegment(key)
    const owner = key.split('/')[1]!
    if (kind === 'anchor-at' && !isAnchor(text)) return `${key} names no anchor`
    if (kind === 'anchor-in' && !isAnchor(last)) return `${key} names no anchor`
    if (kind === 'anchor-links' && !isAnchor(last)) return `${key} is left of an anchor`
    if (kind === 'transfer-at' && !isAnchor(owner)) return `transfer ${last} ends at no anchor`
    if (kind === 'transfer-at' && !isTransfer(last)) return `${key} is left of a transfer`
    if (kind === 'transfer-owner' && !isTransfer(last)) return `${key} is left of a transfer`
  }
  const count = (kind: string) => counts.get(kind) ?? 0
  if (count('anchor-at') !== count(ANCHOR_PREFIX)) return 'not one position for each anchor'
  if (count('anchor-in') !== count(ANCHOR_PREFIX)) return 'not one storage for each anchor'
  return count('transfer-at') === 2 * count(TRANSFER_PREFIX) ? undefined : 'not two ends for each transfer'
}

function kindOf(key: string): string {
  if (key.startsWith(ANCHOR_PREFIX)) return ANCHOR_PREFIX
  return key.startsWith(TRANSFER_PREFIX) ? TRANSFER_PREFIX : key.slice(0, key.indexOf('/'))
}
