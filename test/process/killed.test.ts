import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { TestMesh, until } from '../node/mesh.js'
import type { Order, Report } from './killed-process.js'

const PROGRAM = fileURLToPath(new URL('killed-process.ts', import.meta.url))
const AMOUNT = 10

/** The game server `killed`, in a process of its own, and what it has reported. */
class GameServer {
  private readonly child: ChildProcess
  readonly exit: Promise<string>
  readonly told: string[] = []
  private readonly answers: ((value: string) => void)[] = []
  private stderr = ''

  private constructor(t: Test, settings: object) {
    this.child = fork(PROGRAM, [JSON.stringify(settings)], {
      execArgv: ['--import=tsx'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    t.teardown(() => this.child.kill('SIGKILL'))
    this.child.stderr?.on('data', (text) => {
      this.stderr += text
    })
    this.exit = once(this.child, 'exit').then(([code, signal]) => signal ?? `${code}: ${this.stderr}`)
    this.child.on('message', (report: Report) => {
      if (report.type === 'told') this.told.push(report.id)
      else if (report.type === 'done') this.answers.shift()?.(report.value)
    })
  }

  static async start(
    t: Test,
    settings: { dataDir: string; peers: readonly string[]; listens: boolean },
  ): Promise<GameServer> {
    const server = new GameServer(t, settings)
    const isStarted = once(server.child, 'message').then(() => 'started')
    const outcome = await Promise.race([isStarted, server.exit])
    if (outcome !== 'started') throw new Error(`does not start: ${outcome}`)
    return server
  }

  order(order: Order): Promise<string> {
    return new Promise((resolve) => {
      this.answers.push(resolve)
      // It may be dead already.
      this.child.send(order, () => undefined)
    })
  }

  /** Asks until that is the answer. */
  async until(question: Order, answer: string): Promise<void> {
    while ((await this.order(question)) !== answer) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  /** Resolves when it has told of a compensation; never, when it dies before. */
  tells(): Promise<void> {
    return new Promise((resolve) => {
      this.child.on('message', (report: Report) => {
        if (report.type === 'told') resolve()
      })
    })
  }

  acknowledge(id: string): Promise<string> {
    return this.order({ type: 'acknowledge', id })
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.exit
  }
}

/** Where the loser of a conflict is killed with SIGKILL: what it is told before the two sides meet again. */
interface Death {
  readonly name: string
  readonly order?: Order
}

const atWrite = (count: number, where: 'before' | 'after'): Death => ({
  name: `${where} the write number ${count} from then on`,
  order: { type: 'die-at-write', count, where },
})

const ABSENT: Death = { name: 'when its application is not there' }
const DEATHS: readonly Death[] = [
  // First: it is started so.
  ABSENT,
  ...[1, 2, 3].flatMap((count) => [atWrite(count, 'before'), atWrite(count, 'after')]),
  { name: 'while it is told', order: { type: 'die-when-told' } },
  { name: 'when it has been told', order: { type: 'die-when-acknowledging' } },
]

t.test('wherever a loser is killed, it is compensated once, and told until it acknowledges', async (t) => {
  const mesh = new TestMesh(t)
  const winner = await mesh.start('winner')
  const vault = winner.storage('vault')
  const settings = { dataDir: `${mesh.directory}/killed`, peers: [winner.address!] }
  const isLinked = () => winner.members().some(({ serverId, linked }) => serverId === 'killed' && linked)
  let server = await GameServer.start(t, { ...settings, listens: false })

  for (const [number, death] of DEATHS.entries()) {
    const { name, order } = death
    const item = `minecraft:item_${number}`
    await until(isLinked)
    vault.deposit(item, AMOUNT)
    await server.until({ type: 'quantity', item }, String(AMOUNT))
    winner.setCut(['killed'])
    await until(() => !isLinked())
    const id = await server.order({ type: 'withdraw', item, amount: AMOUNT })
    t.match(id, /^[0-9a-f-]{36}$/, `${name}: provisional there`)
    t.equal(vault.tryWithdraw(item, AMOUNT)?.kind, 'backed', 'and backed here: both take all there is')
    if (order) await server.order(order)
    const ends = Promise.race([server.exit, server.tells()])
    winner.setCut([])

    if (death === ABSENT) await server.until({ type: 'compensations' }, id)
    else await ends
    if (order?.type === 'die-when-acknowledging') await Promise.race([server.exit, server.acknowledge(id)])
    await server.kill()
    t.same(server.told, server.told.slice(0, 1), 'told at most once until then')

    // The first start after that is no better than the one before: nobody acknowledges.
    const starts = number === 1 ? 2 : 1
    for (let start = 1; start <= starts; start++) {
      if (start > 1) await server.kill()
      server = await GameServer.start(t, { ...settings, listens: true })
      await until(() => server.told.length > 0)
    }
    await until(isLinked)
    await until(() => vault.quantity(item) === 0n)
    await server.until({ type: 'quantity', item }, '0')
    t.same(server.told, [id], `${name}: told at the next start, once, and nothing from before`)
    t.equal(await server.acknowledge(id), 'true')
    for await (const entry of winner.audit()) {
      if (entry.item !== item) continue
      t.match(entry, { deposited: 10n, withdrawn: 20n, compensated: 10n, rightsSum: 0n, quantity: 0n })
    }
    server.told.length = 0
  }
  t.equal(await server.order({ type: 'compensations' }), '')
})
