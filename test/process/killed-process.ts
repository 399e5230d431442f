import type { AppendFile, Environment } from '../../src/environment/environment.js'
import { createRealEnvironment } from '../../src/environment/real-environment.js'
import { MeshNode } from '../../src/index.js'
import { SECRET } from '../node/mesh.js'

/**
 * A game server in a process of its own, told over IPC what to do. It takes its life with SIGKILL where it is told
 * to: before or after a write to its journal, or while its application handles a compensation.
 */
export type Order =
  | { readonly type: 'withdraw'; readonly item: string; readonly amount: number }
  | { readonly type: 'quantity'; readonly item: string }
  | { readonly type: 'acknowledge'; readonly id: string }
  | { readonly type: 'compensations' }
  /** From now on: dead before, or right after, that write to the journal. */
  | { readonly type: 'die-at-write'; readonly count: number; readonly where: 'before' | 'after' }
  | { readonly type: 'die-when-told' }
  /** Dead in the same turn in which the acknowledgement was given, before it is on disk. */
  | { readonly type: 'die-when-acknowledging' }

export type Report =
  | { readonly type: 'started' }
  | { readonly type: 'done'; readonly value: string }
  | { readonly type: 'told'; readonly id: string }

interface Arguments {
  readonly dataDir: string
  readonly peers: readonly string[]
  /** False: the application is not there, the node runs alone. */
  readonly listens: boolean
}

const { dataDir, peers, listens } = JSON.parse(process.argv[2]!) as Arguments
let writesLeft = Number.POSITIVE_INFINITY
let dieBefore = false
let dieWhenTold = false
let dieWhenAcknowledging = false

const node = await MeshNode.start({
  clusterId: 'test',
  serverId: 'killed',
  secret: SECRET,
  dataDir,
  peers,
  syncIntervalMs: 100,
  heartbeatIntervalMs: 100,
  rejoinGraceMs: 300,
  environment: deadly(createRealEnvironment()),
})
report({ type: 'started' })
if (listens) {
  node.on('compensated', ({ id }) => {
    if (dieWhenTold) die()
    report({ type: 'told', id })
  })
}
process.on('message', (order: Order) => {
  carryOut(order).then(
    (value) => report({ type: 'done', value }),
    (error) => {
      throw error
    },
  )
})
process.on('disconnect', () => process.exit(1))

async function carryOut(order: Order): Promise<string> {
  const vault = node.storage('vault')
  switch (order.type) {
    case 'withdraw': {
      const withdrawal = await vault.withdraw(order.item, order.amount)
      await withdrawal.durable
      return withdrawal.id ?? withdrawal.kind
    }
    case 'quantity':
      return vault.quantity(order.item).toString()
    case 'acknowledge': {
      const wasOpen = node.acknowledgeCompensation(order.id)
      if (dieWhenAcknowledging) die()
      await node.flush()
      return String(wasOpen)
    }
    case 'compensations':
      return node
        .compensations()
        .map(({ id }) => id)
        .join()
    case 'die-at-write':
      writesLeft = order.count
      dieBefore = order.where === 'before'
      return ''
    case 'die-when-told':
      dieWhenTold = true
      return ''
    case 'die-when-acknowledging':
      dieWhenAcknowledging = true
      return ''
  }
}

function deadly(real: Environment): Environment {
  const openAppend = async (path: string): Promise<AppendFile> => {
    const file = await real.disk.openAppend(path)
    const { append } = file
    file.append = async (chunks, options) => {
      writesLeft -= 1
      if (writesLeft <= 0 && dieBefore) die()
      await append.call(file, chunks, options)
      if (writesLeft <= 0) die()
    }
    return file
  }
  const disk = new Proxy(real.disk, {
    get: (target, name) => {
      if (name === 'openAppend') return openAppend
      const member = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  return { ...real, disk }
}

function die(): never {
  process.kill(process.pid, 'SIGKILL')
  // The signal comes within this call or not at all.
  throw new Error('still alive')
}

function report(what: Report): void {
  process.send?.(what)
}
