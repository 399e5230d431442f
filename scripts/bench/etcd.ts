import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { EtcdClient } from './etcd-client.js'
import { freePort, type Workplace } from './workplace.js'

const MEMBERS = 3
const START_TIMEOUT_MS = 20_000
const RETRY_MS = 50

export interface EtcdMember {
  readonly client: EtcdClient
  kill(): void
}

/** Three etcd processes with real disks on loopback, default settings; undefined when there is no etcd here. */
export async function startEtcd(workplace: Workplace): Promise<EtcdMember[] | undefined> {
  const ports = await Promise.all(Array.from({ length: MEMBERS * 2 }, freePort))
  const address = (number: number) => `http://127.0.0.1:${ports[number]}`
  const cluster = Array.from({ length: MEMBERS }, (_, n) => `m${n}=${address(MEMBERS + n)}`).join(',')
  const members: EtcdMember[] = []
  for (let number = 0; number < MEMBERS; number++) {
    const directory = await workplace.directory('etcd')
    const server = spawn(
      'etcd',
      [
        ...['--name', `m${number}`, '--data-dir', directory, '--logger', 'zap', '--log-level', 'error'],
        ...['--listen-client-urls', address(number), '--advertise-client-urls', address(number)],
        ...['--listen-peer-urls', address(MEMBERS + number)],
        ...['--initial-advertise-peer-urls', address(MEMBERS + number)],
        ...['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
      ],
      { stdio: 'ignore' },
    )
    if (!(await hasStarted(server))) return undefined
    endWith(workplace, server)
    members.push({ kill: () => server.kill('SIGKILL'), client: undefined as unknown as EtcdClient })
  }
  return Promise.all(
    members.map(async ({ kill }, number) => ({ kill, client: await answering(ports[number]!, workplace) })),
  )
}

function endWith(workplace: Workplace, server: ChildProcess): void {
  const killAtExit = () => server.kill('SIGKILL')
  process.once('exit', killAtExit)
  workplace.onClose(async () => {
    process.off('exit', killAtExit)
    if (server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    await ended
  })
}

async function hasStarted(server: ChildProcess): Promise<boolean> {
  try {
    await once(server, 'spawn')
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

async function answering(port: number, workplace: Workplace): Promise<EtcdClient> {
  const limitMs = performance.now() + START_TIMEOUT_MS
  for (;;) {
    try {
      const client = await EtcdClient.connect(port)
      await client.put('ready', new Uint8Array(1), 5_000)
      workplace.onClose(async () => client.close())
      return client
    } catch (error) {
      if (performance.now() > limitMs) throw new Error('etcd does not answer', { cause: error })
      await delay(RETRY_MS)
    }
  }
}
