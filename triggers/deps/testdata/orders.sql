-- An order book.
create table regions (region_id int primary key, description text not null);
create table territories (territory_id text primary key, description text not null,
	region_id int not null references regions);
create table employees (
	employee_id int primary key, last_name text not null, first_name text not null, title text, hired date,
	reports_to int references employees
);
create table employee_territories (
	employee_id int references employees on delete cascade, territory_id text references territories,
	primary key (employee_id, territory_id)
);
create table customers (
	customer_id text primary key, company_name text not null, contact_name text, city text, country text, phone text
);
create table shippers (shipper_id int primary key, company_name text not null, phone text);
create table suppliers (supplier_id int primary key, company_name text not null, city text, country text);
create table categories (category_id int primary key, category_name text not null, description text);
create table products (
	product_id int primary key, product_name text not null, supplier_id int references suppliers,
	category_id int references categories, unit_price numeric(10,2), units_in_stock int not null,
		units_on_order int not null,
	reorder_level int not null, discontinued boolean not null
);
create table orders (
	order_id bigint primary key, customer_id text not null references customers, employee_id int references employees,
	order_date date not null, required_date date, shipped_date date, ship_via int references shippers,
		freight numeric(10,2),
	ship_city text, ship_country text
);
create table order_details (
	order_id bigint references orders on delete cascade, product_id int references products,
		unit_price numeric(10,2) not null,
	quantity int not null, discount real not null, primary key (order_id, product_id)
);
create index on orders (customer_id);
create index on orders (employee_id);
create index on products (category_id);
create index on order_details (product_id);

create view order_subtotals as
	select order_id, sum(unit_price * quantity * (1 - discount)::numeric) as subtotal from order_details group by order_id;
create view current_products as select product_id, product_name, category_id, unit_price from products
	where not discontinued;
create view invoices as
	select o.order_id, o.order_date, o.customer_id, c.company_name, e.first_name || ' ' || e.last_name as salesperson,
		s.company_name as shipper, d.product_id, p.product_name, d.unit_price, d.quantity, d.discount
	from orders o
	join customers c using (customer_id) join employees e using (employee_id) join shippers s on s.shipper_id = o.ship_via
	join order_details d using (order_id) join products p using (product_id);
create view products_above_average as
	select p.product_id, p.product_name, p.category_id, p.unit_price
	from products p where p.unit_price > (select avg(q.unit_price) from products q where q.category_id = p.category_id);

insert into regions select i, 'region ' || i from generate_series(1, 6) i;
insert into territories select lpad(i::text, 5, '0'), 'territory ' || i, 1 + i % 6 from generate_series(1, 60) i;
insert into employees
	select i, 'last ' || i, 'first ' || i, 'title ' || i % 4, '2015-01-01'::date + i * 40, nullif(i / 5, 0)
	from generate_series(1, 30) i;
insert into employee_territories
	select distinct 1 + i % 30, lpad((1 + i * 7 % 60)::text, 5, '0') from generate_series(1, 150) i;
insert into customers
	select 'C' || lpad(i::text, 3, '0'), 'company ' || i, 'contact ' || i, 'city ' || i % 30,
		'country ' || i % 20, '555-' || i
	from generate_series(1, 100) i;
insert into shippers select i, 'shipper ' || i, '556-' || i from generate_series(1, 6) i;
insert into suppliers select i, 'supplier ' || i, 'city ' || i, 'country ' || i % 12 from generate_series(1, 40) i;
insert into categories select i, 'category ' || i, 'about ' || i from generate_series(1, 24) i;
insert into products
	select i, chr(65 + i % 26) || ' product ' || i, 1 + i % 40, 1 + i * 7 % 24, 5 + i * 13 % 90, i * 11 % 100,
		i * 3 % 40, 20,
		i % 9 = 0
	from generate_series(1, 160) i;
insert into orders
	select i, 'C' || lpad((1 + i * 7 % 100)::text, 3, '0'), 1 + i % 30, '2024-01-01'::date + i % 360,
		'2024-02-01'::date + i % 360,
		case when i % 4 > 0 then '2024-01-10'::date + i % 360 end, 1 + i % 6, 5 + i % 50, 'city ' || i % 30,
			'country ' || i % 20
	from generate_series(1, 400) i;
insert into order_details
	select distinct on (1, 2) 1 + i % 400, 1 + i * 11 % 160, 5 + i % 90, 1 + i % 20, (i % 3) * 0.05
	from generate_series(1, 1000) i;
