-- A film rental with two shops.
create type rating as enum ('G', 'PG', 'R');

create table country (country_id int primary key, country text not null);
create table city (city_id int primary key, city text not null, country_id int not null references country);
create table address (
	address_id int primary key, address text not null, district text, city_id int not null references city,
	postal_code text, phone text
);
create table language (language_id int primary key, name text not null);
create table category (category_id int primary key, name text not null);
create table actor (actor_id int primary key, first_name text not null, last_name text not null);
create table film (
	film_id int primary key, title text not null, description text, release_year int,
	language_id int not null references language, rental_duration int not null default 3,
	rental_rate numeric(4,2) not null, length int, replacement_cost numeric(5,2) not null, rating rating
);
create table film_actor (
	actor_id int references actor on delete cascade, film_id int references film on delete cascade,
	primary key (actor_id, film_id)
);
create table film_category (
	film_id int references film on delete cascade, category_id int references category, primary key (film_id, category_id)
);
create table store (store_id int primary key, manager_staff_id int not null,
	address_id int not null references address);
create table staff (
	staff_id int primary key, first_name text not null, last_name text not null,
		address_id int not null references address,
	email text, store_id int not null references store, active boolean not null, username text not null
);
alter table store add foreign key (manager_staff_id) references staff deferrable;
create table customer (
	customer_id int primary key, store_id int not null references store, first_name text not null, last_name text not null,
	email text, address_id int not null references address, active boolean not null, create_date date not null
);
create table inventory (
	inventory_id int primary key, film_id int not null references film, store_id int not null references store
);
create table rental (
	rental_id int primary key, rental_date timestamp not null, inventory_id int not null references inventory,
	customer_id int not null references customer, return_date timestamp, staff_id int not null references staff
);
create table payment (
	payment_id int primary key, customer_id int not null references customer, staff_id int not null references staff,
	rental_id int references rental on delete set null, amount numeric(5,2) not null, payment_date timestamp not null
);
create index on customer (store_id);
create index on inventory (film_id);
create index on rental (inventory_id);
create index on rental (customer_id);
create index on payment (customer_id);

create view customer_list as
	select cu.customer_id as id, cu.first_name || ' ' || cu.last_name as name, a.address, a.postal_code as zip, a.phone,
		ci.city, co.country, case when cu.active then 'active' else '' end as notes, cu.store_id as sid
	from customer cu
	join address a using (address_id) join city ci using (city_id) join country co using (country_id);
create view film_list as
	select f.film_id as fid, f.title, f.description, c.name as category, f.rental_rate as price, f.length, f.rating,
		string_agg(a.first_name || ' ' || a.last_name, ', ' order by a.actor_id) as actors
	from film f
	left join film_category fc using (film_id) left join category c using (category_id)
	left join film_actor fa using (film_id) left join actor a using (actor_id)
	group by f.film_id, f.title, f.description, c.name, f.rental_rate, f.length, f.rating;
create view staff_list as
	select s.staff_id as id, s.first_name || ' ' || s.last_name as name, a.address, a.phone, ci.city, s.store_id as sid
	from staff s join address a using (address_id) join city ci using (city_id);
create view sales_by_store as
	select s.store_id, ci.city, m.first_name || ' ' || m.last_name as manager, sum(p.amount) as total_sales
	from payment p
	join rental r using (rental_id) join inventory i using (inventory_id) join store s using (store_id)
	join address a using (address_id) join city ci using (city_id) join staff m on m.staff_id = s.manager_staff_id
	group by s.store_id, ci.city, m.first_name, m.last_name;

insert into country select i, 'country ' || i from generate_series(1, 12) i;
insert into city select i, 'city ' || i, 1 + i % 12 from generate_series(1, 60) i;
insert into address
	select i, i || ' Mill Road', 'district ' || i % 20, 1 + i % 60, lpad(i::text, 5, '0'), '555-' || i
		from generate_series(1, 230) i;
insert into language select i, 'language ' || i from generate_series(1, 6) i;
insert into category select i, 'category ' || i from generate_series(1, 16) i;
insert into actor select i, 'first ' || i % 30, 'last ' || i from generate_series(1, 90) i;
insert into film
	select i, chr(65 + i % 26) || ' film ' || i, 'about ' || i, 1990 + i % 30, 1 + i % 6, 3 + i % 5, 0.99 + i % 5,
		60 + i % 90,
		9.99 + i % 20, (enum_range(null::rating))[1 + i % 3]
	from generate_series(1, 200) i;
insert into film_actor select distinct 1 + (i * 37 + j * 11) % 90, i
	from generate_series(1, 200) i, generate_series(1, 4) j;
insert into film_category select i, 1 + i * 7 % 16 from generate_series(1, 200) i;
begin;
set constraints all deferred;
insert into store select i, i, i from generate_series(1, 6) i;
insert into staff
	select i, 'clerk ' || i, 'last ' || i, 6 + i, 'clerk' || i || '@shop.example', 1 + (i - 1) % 6, true, 'clerk' || i
	from generate_series(1, 24) i;
commit;
insert into customer
	select i, 1 + i % 6, 'first ' || i % 40, 'last ' || i, 'c' || i || '@mail.example', 31 + i, i % 9 > 0,
		'2024-01-01'::date + i
	from generate_series(1, 150) i;
insert into inventory select i, 1 + i * 3 % 200, 1 + i * 5 % 6 from generate_series(1, 500) i;
insert into rental
	select i, '2024-05-01'::timestamp + i * interval '5 hours', 1 + i * 13 % 500, 1 + i * 7 % 150,
		case when i % 5 > 0 then '2024-05-04'::timestamp + i * interval '5 hours' end, 1 + i % 24
	from generate_series(1, 800) i;
insert into payment
	select i, r.customer_id, r.staff_id, r.rental_id, 0.99 + i % 7, r.rental_date + interval '1 minute'
	from generate_series(1, 780) i join rental r on r.rental_id = i;
