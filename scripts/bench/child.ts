import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Workplace } from './workplace.js'

type Question = { readonly number: number; readonly name: string; readonly argument: unknown }
type Answer =
  | { readonly number: number; readonly value: unknown }
  | { readonly number: number; readonly error: string }
  | { readonly news: unknown }

/** Handlers of a child by name: what the parent may ask. */
export type ChildHandlers = Readonly<Record<string, (argument: never) => unknown>>

/** Another process of a benchmark: a server must not share its event loop or its heap with what measures it. */
export class Child<Handlers extends ChildHandlers> {
  private readonly open = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >()
  private lastNumber = 0
  onNews: ((news: unknown) => void) | undefined

  private constructor(private readonly process: ChildProcess) {
    process.on('message', (answer) => this.onAnswer(answer as Answer))
    process.on('exit', (code, signal) => {
      for (const { reject } of this.open.values()) reject(new Error(`child ended: ${signal ?? code}`))
      this.open.clear()
    })
  }

  static start<Handlers extends ChildHandlers>(workplace: Workplace, file: URL): Child<Handlers> {
    const child = new Child<Handlers>(
      fork(file, { serialization: 'advanced', execArgv: [...process.execArgv, '--expose-gc'] }),
    )
    workplace.onClose(() => child.stop())
    return child
  }

  ask<Name extends keyof Handlers & string>(
    name: Name,
    ...[argument]: Parameters<Handlers[Name]>
  ): Promise<Awaited<ReturnType<Handlers[Name]>>> {
    const number = ++this.lastNumber
    return new Promise((resolve, reject) => {
      this.open.set(number, { resolve: resolve as (value: unknown) => void, reject })
      this.process.send({ number, name, argument } satisfies Question)
    })
  }

  /** Ends it as a power cut would. */
  kill(): void {
    this.process.kill('SIGKILL')
  }

  /** Lets it end by itself for a moment: its node has a journal to close. */
  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const ended = once(this.process, 'exit')
    if (this.process.connected) this.process.disconnect()
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 5_000)
    await ended
    clearTimeout(timer)
  }

  private onAnswer(answer: Answer): void {
    if ('news' in answer) {
      this.onNews?.(answer.news)
      return
    }
    const waiting = this.open.get(answer.number)
    this.open.delete(answer.number)
    if ('error' in answer) waiting?.reject(new Error(answer.error))
    else waiting?.resolve(answer.value)
  }
}

/** In the child: answers the parent until it lets go, then `close`. */
export function serveParent(handlers: ChildHandlers, close: () => Promise<void>): void {
  process.on('message', ({ number, name, argument }: Question) => {
    Promise.resolve()
      .then(() => handlers[name]!(argument as never))
      .then((value) => process.send?.({ number, value }))
      .catch((error: Error) => process.send?.({ number, error: error.stack ?? String(error) }))
  })
  process.on('disconnect', () => {
    close().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  })
}

export function tellParent(news: unknown): void {
  process.send?.({ news })
}
