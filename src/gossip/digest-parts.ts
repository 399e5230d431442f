import { FrameError } from '../sync/errors.js'
import { type DigestMessage, MAX_DIGEST_ROWS, type ReplicaRow } from './messages.js'
import type { Peer } from './peer.js'

/** The whole digest once its last part has come. @throws FrameError when the parts exceed every bound */
export function collectParts(peer: Peer, message: DigestMessage): DigestMessage | undefined {
  if (!message.more && peer.digestParts.length === 0) return message
  peer.digestParts.push(...message.partitions)
  const total = peer.digestParts.reduce((sum, { rows }) => sum + rows.length + 1, 0)
  if (total > MAX_DIGEST_ROWS) throw new FrameError(`a digest of more than ${MAX_DIGEST_ROWS} rows`)
  if (message.more) return undefined
  const joined = new Map<string, ReplicaRow[]>()
  for (const { partition, rows } of peer.digestParts.splice(0)) {
    const known = joined.get(partition)
    if (known) known.push(...rows)
    else joined.set(partition, [...rows])
  }
  return { ...message, partitions: [...joined].map(([partition, rows]) => ({ partition, rows })) }
}
