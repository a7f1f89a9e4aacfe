-- a film's page
select f.title, f.description, f.release_year, f.length, f.rating, f.rental_rate, l.name as language,
	(select string_agg(a.first_name || ' ' || a.last_name, ', ' order by a.actor_id)
		from film_actor fa join actor a using (actor_id) where fa.film_id = f.film_id) as actors
from film f join language l using (language_id)
where f.film_id = $1;

-- a film's stock in each store
select i.store_id, count(*) as copies, count(*) filter (where not exists (
	select from rental r where r.inventory_id = i.inventory_id and r.return_date is null)) as on_the_shelf
from inventory i
where i.film_id = $1
group by i.store_id
order by i.store_id;

-- a customer's form
select customer_id, store_id, first_name, last_name, email, address_id, active from customer where customer_id = $1;

-- a customer's card, through a view
select * from customer_list where id = $1;

-- a customer's open rentals
select r.rental_id, r.rental_date, f.title
from rental r join inventory i using (inventory_id) join film f using (film_id)
where r.customer_id = $1 and r.return_date is null
order by r.rental_date, r.rental_id;

-- a customer's payments, twenty on a page
select payment_id, amount, payment_date from payment
where customer_id = $1
order by payment_date desc, payment_id
limit 20 offset $2 - 1;

-- a customer's balance
select c.first_name, c.last_name,
	(select coalesce(sum(p.amount), 0) from payment p where p.customer_id = c.customer_id) as paid,
	(select count(*) from rental r where r.customer_id = c.customer_id) as rentals
from customer c
where c.customer_id = $1;

-- films of a category that begin with a letter; $3: A, H, S
select f.film_id, f.title, f.rental_rate
from film_category fc join film f using (film_id)
where fc.category_id = $1 and f.title like $3 || '%'
order by f.title
limit 20;

-- a film, through a view
select title, category, price, actors from film_list where fid = $1;

-- the films of a category by its name, through a view; $3: category 3, category 8, category 15
select fid, title, price from film_list where category = $3 order by title, fid;

-- one store's open rentals
select r.rental_id, r.rental_date, c.first_name, c.last_name, f.title
from inventory i
join rental r using (inventory_id) join customer c using (customer_id) join film f using (film_id)
where i.store_id = $1 and r.return_date is null
order by r.rental_date, r.rental_id;

-- a store with its manager and its customers
select s.store_id, m.first_name, m.last_name, a.address, n.customers, n.active
from store s
join staff m on m.staff_id = s.manager_staff_id
join address a on a.address_id = s.address_id,
lateral (select count(*) as customers, count(*) filter (where c.active) as active
	from customer c where c.store_id = s.store_id) n
where s.store_id = $1;

-- an actor's films
select a.first_name, a.last_name, f.film_id, f.title, f.release_year
from actor a left join film_actor fa using (actor_id) left join film f using (film_id)
where a.actor_id = $1
order by f.title, f.film_id;

-- the ten best customers of a store
select c.customer_id, c.first_name, c.last_name, sum(p.amount) as total
from customer c join payment p using (customer_id)
where c.store_id = $1
group by c.customer_id
order by total desc, c.customer_id
limit 10;

-- sales of all stores, through a view
select * from sales_by_store order by store_id;
