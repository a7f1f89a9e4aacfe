import {useMutation, useQuery} from '@tanstack/react-query'
import type {FormEvent} from 'react'
import {addTask, listTasks, setDone} from './api'
import {useRefetch} from './live'

export function Tasks({project}: {project: number}) {
  const queryKey = ['tasks', project]
  const tasks = useQuery({queryKey, queryFn: () => listTasks(project)})
  useRefetch(`project:${project}`, queryKey)

  // Nothing to do when they are done: the bell rings.
  const add = useMutation({mutationFn: (title: string) => addTask(project, title)})
  const toggle = useMutation({mutationFn: ({id, done}: {id: number; done: boolean}) => setDone(id, done)})

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    const form = event.currentTarget
    const title = new FormData(form).get('title')
    if (title) add.mutate(String(title), {onSuccess: () => form.reset()})
  }

  if (tasks.isPending) return <p>Loading…</p>
  if (tasks.isError) return <p role="alert">{tasks.error.message}</p>
  return (
    <>
      <ul>
        {tasks.data.map((task) => (
          <li key={task.id}>
            <label>
              <input type="checkbox" checked={task.done} onChange={() => toggle.mutate({id: task.id, done: !task.done})} />{' '}
              {task.title}
            </label>
          </li>
        ))}
      </ul>
      <form onSubmit={submit}>
        <input name="title" aria-label="New task" placeholder="New task" autoComplete="off" /> <button>Add</button>
      </form>
    </>
  )
}
