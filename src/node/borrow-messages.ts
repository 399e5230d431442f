import { type BorrowAnswer, type BorrowAsk, MAX_ASKS_PER_EFFECT } from '../conflict/effects.js'
import { narrowQuantity } from '../crdt/column.js'
import { MAX_KEY_LENGTH, MAX_NAMESPACE_LENGTH } from '../crdt/limits.js'
import type { ReplicaId } from '../sync/identity.js'
import {
  bigintToWire,
  expectArray,
  expectBigint,
  expectBoolean,
  expectString,
  expectTuple,
} from '../wire/expect.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'

/** [type, partition, asker, [[storage, item, target, is debt], …]]. */
export function asksToTuple(partition: string, from: ReplicaId, asks: readonly BorrowAsk[]): WireTuple {
  const list = asks.map(({ storage, item, target, purpose }) => [
    storage,
    item,
    bigintToWire(BigInt(target)),
    purpose === 'debt',
  ])
  return [MessageType.borrow, partition, from, list]
}

/** @throws FrameError */
export function asksFromTuple(tuple: WireTuple): BorrowAsk[] {
  return listOf(tuple, 'borrow').map((fields) => ({
    ...placeOf(fields),
    target: quantityOf(fields),
    purpose: purposeOf(fields),
  }))
}

/** [type, partition, donor, [[storage, item, total granted, is debt], …]]. */
export function answersToTuple(
  partition: string,
  from: ReplicaId,
  answers: readonly BorrowAnswer[],
): WireTuple {
  const list = answers.map(({ storage, item, total, purpose }) => [
    storage,
    item,
    bigintToWire(BigInt(total)),
    purpose === 'debt',
  ])
  return [MessageType.borrowAnswer, partition, from, list]
}

/** @throws FrameError */
export function answersFromTuple(tuple: WireTuple): BorrowAnswer[] {
  return listOf(tuple, 'borrow_answer').map((fields) => ({
    ...placeOf(fields),
    total: quantityOf(fields),
    purpose: purposeOf(fields),
  }))
}

/** The partition and the sender, which both messages begin with. @throws FrameError */
export function borrowHeader(tuple: WireTuple): { partition: string; from: ReplicaId } {
  const fields = expectTuple(tuple, 4, 'borrow')
  return {
    partition: expectString(fields[1], MAX_NAMESPACE_LENGTH + 8, 'borrow.partition'),
    from: expectString(fields[2], 128, 'borrow.from'),
  }
}

function listOf(tuple: WireTuple, field: string): WireTuple[] {
  return expectArray(expectTuple(tuple, 4, field)[3], MAX_ASKS_PER_EFFECT, field).map((value) =>
    expectTuple(value, 4, field),
  )
}

function placeOf(fields: WireTuple) {
  return {
    storage: expectString(fields[0], MAX_NAMESPACE_LENGTH, 'borrow.storage'),
    item: expectString(fields[1], MAX_KEY_LENGTH, 'borrow.item'),
  }
}

function quantityOf(fields: WireTuple): number | bigint {
  return narrowQuantity(expectBigint(fields[2], 'borrow.amount'))
}

function purposeOf(fields: WireTuple): BorrowAsk['purpose'] {
  return expectBoolean(fields[3], 'borrow.is_debt') ? 'debt' : 'reserve'
}
