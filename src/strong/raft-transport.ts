import { messageFromTuple } from '../raft/message-codec.js'
import type { Message } from '../raft/messages.js'
import { serverOfReplica } from '../sync/identity.js'
import { encodeMessage } from '../wire/encode.js'
import { expectString, expectTuple, expectUint } from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'
import { encodeGroupMessage } from './entry-encoder.js'
import type { RaftGroup } from './raft-records.js'

/** The links of this server as the Raft group sees them. */
export interface RaftLinks {
  /** Sends to a linked server; false when there is no link. */
  sendTo(server: string, message: Uint8Array): boolean
  /** A linked server that says it is linked with `server`; undefined when none is. */
  relayTo(server: string): string | undefined
  /** There is a link, but nothing has come over it for longer than a live peer is silent. */
  isQuiet(server: string): boolean
}

/** A message between members of one group. */
export interface GroupMessage extends RaftGroup {
  readonly message: Message
}

/** A message may pass one server in between: full meshes with a cut pair need no more. */
const MAX_RELAYS = 1

/** [type, group id, epoch, relays left, message]. */
export class RaftTransport {
  constructor(
    private readonly serverId: string,
    private readonly links: RaftLinks,
  ) {}

  /** Returns false when no path was found. */
  send(group: RaftGroup, message: Message): boolean {
    const server = serverOfReplica(message.to)
    const encode = (relays: number) => encodeGroupMessage(group, relays, message)
    // A connection that died without a word takes half a minute to be noticed: too long for a leader's heartbeats.
    const sent = this.links.sendTo(server, encode(0))
    if (sent && !this.links.isQuiet(server)) return true
    const relay = this.links.relayTo(server)
    return (relay !== undefined && this.links.sendTo(relay, encode(MAX_RELAYS))) || sent
  }

  /** The message when it is for this server; otherwise it is passed on, if it may be. @throws FrameError */
  receive(tuple: WireTuple): GroupMessage | undefined {
    const fields = expectTuple(tuple, 5, 'raft')
    const groupId = expectString(fields[1], 64, 'raft.group')
    const epoch = expectUint(fields[2], 'raft.epoch')
    const relays = expectUint(fields[3], 'raft.relays', MAX_RELAYS)
    const message = messageFromTuple(fields[4])
    const server = serverOfReplica(message.to)
    if (server === this.serverId) return { groupId, epoch, message }
    if (relays > 0) {
      this.links.sendTo(server, encodeMessage([MessageType.raft, groupId, epoch, relays - 1, fields[4]!]))
    }
    return undefined
  }
}
