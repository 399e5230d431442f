import { APPEND_TYPE, messageToTuple } from '../raft/message-codec.js'
import type { Append, Message } from '../raft/messages.js'
import type { Entry } from '../raft/types.js'
import { CborWriter } from '../wire/cbor-writer.js'
import { encodeMessage } from '../wire/encode.js'
import { MessageType } from '../wire/message-type.js'
import type { WireValue } from '../wire/wire-value.js'
import type { RaftGroup } from './raft-records.js'

const writer = new CborWriter()
/** Kind of a command in the tuples of entries. */
const COMMAND = 0

type CommandEntry = Extract<Entry, { kind: 'command' }>

/** [type, group id, epoch, relays left, message], byte for byte what `encodeMessage` makes of it. */
export function encodeGroupMessage(
  { groupId, epoch }: RaftGroup,
  relays: number,
  message: Message,
): Uint8Array {
  if (message.type !== 'append' || !areCommands(message.entries))
    return encodeMessage([MessageType.raft, groupId, epoch, relays, messageToTuple(message) as WireValue])
  writer.begin()
  writer.array(5)
  writer.uint(MessageType.raft)
  writer.text(groupId)
  writer.uint(epoch)
  writer.uint(relays)
  writeAppend(message, message.entries)
  return writer.finish()
}

/** The record of commands for the journal: [type, [[index, term, kind, data], …]], likewise. */
export function encodeCommands(entries: readonly CommandEntry[]): Uint8Array {
  writer.begin()
  writer.array(2)
  writer.uint(MessageType.raftEntries)
  writer.array(entries.length)
  for (const { index, term, data } of entries) {
    writer.array(4)
    writer.uint(index)
    writer.uint(term)
    writer.uint(COMMAND)
    writer.byteString(data)
  }
  return writer.finish()
}

/** Nearly always: other entries come with an election or a change of the membership. */
export function areCommands(entries: readonly Entry[]): entries is readonly CommandEntry[] {
  return entries.every(({ kind }) => kind === 'command')
}

function writeAppend(message: Append, entries: readonly CommandEntry[]): void {
  const { from, to, term, previousIndex, previousTerm, commit } = message
  writer.array(8)
  writer.uint(APPEND_TYPE)
  writer.text(from)
  writer.text(to)
  writer.uint(term)
  writer.uint(previousIndex)
  writer.uint(previousTerm)
  writer.uint(commit)
  writer.array(entries.length)
  for (const entry of entries) {
    writer.array(3)
    writer.uint(entry.term)
    writer.uint(COMMAND)
    writer.byteString(entry.data)
  }
}
