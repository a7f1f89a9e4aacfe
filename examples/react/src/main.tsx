import {QueryClient, QueryClientProvider} from '@tanstack/react-query'
import {useLive} from 'pgbell/react'
import {StrictMode, useState} from 'react'
import {createRoot} from 'react-dom/client'
import {projects} from './api'
import {bell, useBellStatus} from './live'
import {Tasks} from './Tasks'
import './style.css'

// What a query has is fresh until the bell rings: no polling, no refetch on focus.
const client = new QueryClient({defaultOptions: {queries: {staleTime: Infinity}}})

function OpenTasks({project}: {project: number}) {
  const {rows, stale} = useLive(bell, 'react_tasks.open_tasks', {})
  if (!rows) return stale
  return <small title={stale}>{rows.find((row) => row.project === project)?.open ?? 0} open</small>
}

function App() {
  const [project, setProject] = useState(1)
  const status = useBellStatus()
  return (
    <main>
      <h1>
        Tasks <small data-status={status}>{status === 'open' ? 'live' : status}</small>
      </h1>
      <nav>
        {projects.map(({id, name}) => (
          <button key={id} aria-pressed={id === project} onClick={() => setProject(id)}>
            {name} <OpenTasks project={id} />
          </button>
        ))}
      </nav>
      <Tasks key={project} project={project} />
    </main>
  )
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
)
